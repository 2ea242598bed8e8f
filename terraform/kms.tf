# The key that encrypts every object written (GCS_KMS_KEY_ID) and, if asked for, the
# messages on the topics. A key ring can never be deleted, only its keys' versions.

resource "google_kms_key_ring" "lake" {
  name       = "${var.name}-lake"
  location   = var.region # a bucket takes keys of its own region only
  depends_on = [google_project_service.used]
}

resource "google_kms_crypto_key" "lake" {
  name            = "objects"
  key_ring        = google_kms_key_ring.lake.id
  purpose         = "ENCRYPT_DECRYPT"
  rotation_period = "7776000s" # 90 days. Old versions stay: old objects are still read with them.

  # A destroyed version takes every object with it that it encrypted. There are 30
  # days to change one's mind.
  destroy_scheduled_duration = "2592000s"
  lifecycle { prevent_destroy = true }
}

data "google_storage_project_service_account" "agent" {
  depends_on = [google_project_service.used]
}

# Cloud Storage encrypts and decrypts as its service agent; the programs themselves
# need no right to the key.
resource "google_kms_crypto_key_iam_member" "storage" {
  crypto_key_id = google_kms_crypto_key.lake.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.agent.member
}

resource "google_kms_crypto_key_iam_member" "pubsub" {
  count         = var.encrypt_topics ? 1 : 0
  crypto_key_id = google_kms_crypto_key.lake.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = local.pubsub_agent
}

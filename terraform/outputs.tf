# `terraform output -json > lake.json` is a configuration: these two outputs are what
# the programs and the library read (GCS_DATA_BUCKET and so on).

output "storage_config" {
  description = "Where the lake is, and as whom people and tools of the operators reach it."
  value = {
    data_bucket_name              = google_storage_bucket.data.name
    archive_bucket_name           = google_storage_bucket.archive.name
    backup_bucket_name            = google_storage_bucket.backup.name
    temp_bucket_name              = google_storage_bucket.temp.name
    storage_service_account_email = google_service_account.program["operator"].email
    storage_kms_key_id            = google_kms_crypto_key.lake.id
    region                        = var.region
  }
}

output "deployment_variables" {
  description = "What else a program needs."
  value = {
    GOOGLE_CLOUD_PROJECT = var.project
  }
}

output "service_accounts" {
  description = "The account of each program and role."
  value       = { for k, a in google_service_account.program : k => a.email }
}

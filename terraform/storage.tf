# The four buckets.
#
# What a rule of a bucket must never do, since it does not know the table's log:
# delete from data, archive or backup, or move a log (processed/<type>/_delta_log/,
# read at every load) to a class where reading costs money. Deleting is the sweeper's.

locals {
  bucket_prefix = coalesce(var.bucket_prefix, "${var.project}-${var.name}")
  day           = 24 * 60 * 60

  # Class of an object from an age on. Of several rules that match, Cloud Storage
  # takes the coldest; an object never goes back.
  classes = {
    NEARLINE = 30
    COLDLINE = 90
    ARCHIVE  = 365
  }

  # The data files of each table: the log and everything else under processed/ does
  # not match. The age is the object's: a day that is merged again starts anew.
  data_files = [for t in concat(keys(var.data_types), ["dead_letters"]) : "processed/${t}/year="]
}

# The lake: raw/, processed/, metadata/, cache/, payloads/.
#
# Versioning is off: objects are written once; the few that are overwritten (the
# log's checkpoint hint, manifests) are derived and can be made again. It would keep
# every swept file for ever, or need a delete rule. Soft delete brings back what was
# deleted by mistake, for soft_delete_days, and then lets go by itself.
resource "google_storage_bucket" "data" {
  name                        = "${local.bucket_prefix}-data"
  location                    = var.region
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  encryption { default_kms_key_name = google_kms_crypto_key.lake.id }
  soft_delete_policy { retention_duration_seconds = var.soft_delete_days * local.day }

  dynamic "lifecycle_rule" {
    for_each = local.classes
    content {
      action {
        type          = "SetStorageClass"
        storage_class = lifecycle_rule.key
      }
      condition {
        age            = lifecycle_rule.value
        matches_prefix = local.data_files
      }
    }
  }

  lifecycle { prevent_destroy = true }
  depends_on = [google_kms_crypto_key_iam_member.storage]
}

# Raw files that are in the table already, kept as they came: what a backfill or a
# repair starts from. Never overwritten, so versioning is off here too.
resource "google_storage_bucket" "archive" {
  name                        = "${local.bucket_prefix}-archive"
  location                    = var.region
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  encryption { default_kms_key_name = google_kms_crypto_key.lake.id }
  soft_delete_policy { retention_duration_seconds = var.soft_delete_days * local.day }

  dynamic "lifecycle_rule" {
    for_each = local.classes
    content {
      action {
        type          = "SetStorageClass"
        storage_class = lifecycle_rule.key
      }
      condition { age = lifecycle_rule.value }
    }
  }

  lifecycle { prevent_destroy = true }
  depends_on = [google_kms_crypto_key_iam_member.storage]
}

# Backups. The longest way back from a mistake, or from somebody who deletes them on
# purpose. No classes by age: a backup is wanted whole and at once, and old ones go.
resource "google_storage_bucket" "backup" {
  name                        = "${local.bucket_prefix}-backup"
  location                    = var.region
  storage_class               = "NEARLINE"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  encryption { default_kms_key_name = google_kms_crypto_key.lake.id }
  soft_delete_policy { retention_duration_seconds = 30 * local.day }

  lifecycle { prevent_destroy = true }
  depends_on = [google_kms_crypto_key_iam_member.storage]
}

# Where large merges spill. The one bucket with a delete rule: what is older than a
# day is of a merge that died. No soft delete: it would double what a merge costs.
resource "google_storage_bucket" "temp" {
  name                        = "${local.bucket_prefix}-temp"
  location                    = var.region
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  encryption { default_kms_key_name = google_kms_crypto_key.lake.id }
  soft_delete_policy { retention_duration_seconds = 0 }

  lifecycle_rule {
    action { type = "Delete" }
    condition { age = 1 }
  }

  lifecycle_rule {
    action { type = "AbortIncompleteMultipartUpload" }
    condition { age = 1 }
  }

  depends_on = [google_kms_crypto_key_iam_member.storage]
}

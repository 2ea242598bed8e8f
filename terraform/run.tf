# The programs. Their settings are environment variables; `ingestor --help` and
# `compactor --help` say what each is for. GCS_SERVICE_ACCOUNT_EMAIL is not among
# them: a program here runs as its account, and needs to act as no other.

locals {
  lake_env = {
    GOOGLE_CLOUD_PROJECT = var.project
    GCS_DATA_BUCKET      = google_storage_bucket.data.name
    GCS_ARCHIVE_BUCKET   = google_storage_bucket.archive.name
    GCS_BACKUP_BUCKET    = google_storage_bucket.backup.name
    GCS_TEMP_BUCKET      = google_storage_bucket.temp.name
    GCS_REGION           = var.region
    GCS_KMS_KEY_ID       = google_kms_crypto_key.lake.id
    LOG_FORMAT           = "json"
  }

  # GOMEMLIMIT is the Go runtime's own: it collects harder before the container's
  # limit is met, instead of being killed at it.
  ingestor_env = merge(local.lake_env, {
    DATA_TYPES     = join(",", concat(sort(keys(var.data_types)), ["dead_letters"]))
    MEMORY_BUDGET  = "${floor(var.ingestor_memory_mib / 4)}MiB"
    GOMEMLIMIT     = "${floor(var.ingestor_memory_mib * 0.9)}MiB"
    LISTEN_ADDR    = ":${local.health_port}"
    REPLAY         = "true"
    DRAIN_DEADLINE = "8s" # Cloud Run kills 10 s after SIGTERM; what is not durable by then is delivered again
  }, var.ingestor_env)

  compactor_env = merge(local.lake_env, {
    COMPACT_MEMORY_BUDGET = "${floor(var.compactor_memory_mib / 4)}MiB"
    GOMEMLIMIT            = "${floor(var.compactor_memory_mib * 0.9)}MiB"
  }, var.compactor_env)

  health_port = 9090
}

# A worker pool: it takes no requests, runs always, and has its CPU always.
resource "google_cloud_run_v2_worker_pool" "ingestor" {
  name                = "${var.name}-ingestor"
  location            = var.region
  deletion_protection = false # it keeps no state

  scaling {
    scaling_mode          = "MANUAL"
    manual_instance_count = var.ingestor_instances
  }

  template {
    service_account = google_service_account.program["ingestor"].email

    containers {
      image = var.image_ingestor

      resources {
        limits = {
          cpu    = "1"
          memory = "${var.ingestor_memory_mib}Mi"
        }
      }

      dynamic "env" {
        for_each = local.ingestor_env
        content {
          name  = env.key
          value = env.value
        }
      }

      # A new revision counts as started once it receives: a missing right or
      # subscription shows in the deployment. Two minutes.
      startup_probe {
        http_get {
          path = "/readyz"
          port = local.health_port
        }
        period_seconds    = 5
        timeout_seconds   = 4
        failure_threshold = 24
      }

      # Alive is not ready: an outage of the bucket or of Pub/Sub makes it wait, and
      # a restart would not help.
      liveness_probe {
        http_get {
          path = "/healthz"
          port = local.health_port
        }
        period_seconds    = 10
        timeout_seconds   = 4
        failure_threshold = 6
      }
    }
  }

  depends_on = [
    google_storage_bucket_iam_member.grant,
    google_pubsub_subscription_iam_member.ingestor_receives,
    google_pubsub_topic_iam_member.ingestor_rejects,
  ]
}

# Jobs that end when all is done; they may be killed at any moment and meet each other.
locals {
  jobs = {
    compactor = { args = ["--once"], schedule = var.compactor_schedule }
    sweeper   = { args = ["--once", "--sweep"], schedule = var.sweeper_schedule }
  }
}

resource "google_cloud_run_v2_job" "compactor" {
  for_each            = local.jobs
  name                = "${var.name}-${each.key}"
  location            = var.region
  deletion_protection = false

  template {
    task_count = 1

    template {
      service_account = google_service_account.program[each.key].email
      max_retries     = 0 # the next run tries again
      timeout         = "3600s"

      containers {
        image = var.image_compactor
        args  = each.value.args

        resources {
          limits = {
            cpu    = var.compactor_memory_mib > 4096 ? "2" : "1" # Cloud Run gives more than 4 GiB with 2 CPUs only
            memory = "${var.compactor_memory_mib}Mi"
          }
        }

        dynamic "env" {
          for_each = local.compactor_env
          content {
            name  = env.key
            value = env.value
          }
        }
      }
    }
  }

  depends_on = [google_storage_bucket_iam_member.grant]
}

resource "google_cloud_scheduler_job" "compactor" {
  for_each         = google_cloud_run_v2_job.compactor
  name             = each.value.name
  region           = var.region
  schedule         = local.jobs[each.key].schedule
  time_zone        = "Etc/UTC"
  attempt_deadline = "30s"

  http_target {
    http_method = "POST"
    uri         = "https://run.googleapis.com/v2/${each.value.id}:run"
    oauth_token {
      service_account_email = google_service_account.program["scheduler"].email
    }
  }

  depends_on = [google_cloud_run_v2_job_iam_member.scheduler_starts]
}

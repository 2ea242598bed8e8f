terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
  }

  # State holds names and grants, no secrets. Keep it in a bucket of its own:
  # backend "gcs" { bucket = "my-terraform-state", prefix = "ingest" }
}

provider "google" {
  project = var.project
  region  = var.region
}

# What the other files use. An interface is left on when this is destroyed:
# others in the project may use it.
resource "google_project_service" "used" {
  for_each = toset([
    "cloudkms.googleapis.com",
    "cloudscheduler.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "storage.googleapis.com",
  ])
  service            = each.value
  disable_on_destroy = false
}

data "google_project" "this" {
  project_id = var.project
}

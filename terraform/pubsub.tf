# Topics and subscriptions.
#
#   <topic> ─▶ <topic>-ingest ─▶ ingestor ─▶ (a bad record) dead-letters ─▶ dead-letters-ingest ─▶ ingestor
#                    └─ given up ─▶ <topic>-undelivered ─▶ <topic>-undelivered-ingest
#
#   operator: buffetctl dlq replay ─▶ <topic>-replay ─▶ <topic>-replay-ingest ─▶ ingestor
#
# The same settings as `ingestor --create` gives them, save where a comment says so.

locals {
  ack_deadline = 60 # seconds. The client extends it while it holds a message; a killed ingestor's messages wait for it.
  week         = "604800s"
  longest      = "2678400s" # 31 days, the longest there is
  topic_key    = var.encrypt_topics ? google_kms_crypto_key.lake.id : null
}

resource "google_pubsub_topic" "data" {
  for_each     = var.data_types
  name         = each.value
  kms_key_name = local.topic_key
  depends_on   = [google_project_service.used, google_kms_crypto_key_iam_member.pubsub]
}

# What Pub/Sub itself gave up delivering.
resource "google_pubsub_topic" "undelivered" {
  for_each     = var.data_types
  name         = "${each.value}-undelivered"
  kms_key_name = local.topic_key
  depends_on   = [google_project_service.used, google_kms_crypto_key_iam_member.pubsub]
}

# What operators let come again. Whoever publishes here says under which identity rows
# are kept: nobody else gets the right to (iam.tf).
resource "google_pubsub_topic" "replay" {
  for_each     = var.data_types
  name         = "${each.value}-replay"
  kms_key_name = local.topic_key
  depends_on   = [google_project_service.used, google_kms_crypto_key_iam_member.pubsub]
}

# What the ingestor rejected, record by record, with the reason.
resource "google_pubsub_topic" "dead_letters" {
  name         = "dead-letters"
  kms_key_name = local.topic_key
  depends_on   = [google_project_service.used, google_kms_crypto_key_iam_member.pubsub]
}

resource "google_pubsub_subscription" "ingest" {
  for_each = var.data_types
  name     = "${each.value}-ingest"
  topic    = google_pubsub_topic.data[each.key].id

  # Ordering off: an ordered subscription delivers every later message of a key
  # again. Exactly-once off: it does not cover what is needed (a crash between a
  # durable file and its ack), and the lake's identities do.
  enable_message_ordering      = false
  enable_exactly_once_delivery = false

  ack_deadline_seconds       = local.ack_deadline
  message_retention_duration = local.week # an outage may take a week before anything is lost

  # Never: the default is to delete a subscription that was idle for 31 days.
  expiration_policy { ttl = "" }

  # The longest pause is 10 minutes, not the minute of --create: 100 attempts with
  # growing pauses then last for more than half a day, so that an outage of the
  # bucket does not push good messages into <topic>-undelivered.
  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "600s"
  }

  # The last resort, with the greatest number of attempts there is.
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.undelivered[each.key].id
    max_delivery_attempts = 100
  }

  # Deleting it loses what waits in it.
  lifecycle { prevent_destroy = true }
}

# No dead-letter policy here, on dead-letters-ingest or on the replays': what arrives is
# stored, never rejected, and there is nowhere further to go.
resource "google_pubsub_subscription" "undelivered" {
  for_each = var.data_types
  name     = "${each.value}-undelivered-ingest"
  topic    = google_pubsub_topic.undelivered[each.key].id

  enable_message_ordering      = false
  enable_exactly_once_delivery = false
  ack_deadline_seconds         = local.ack_deadline
  message_retention_duration   = local.longest # rare, small, and the last copy

  expiration_policy { ttl = "" }

  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "600s"
  }

  lifecycle { prevent_destroy = true }
}

resource "google_pubsub_subscription" "replay" {
  for_each = var.data_types
  name     = "${each.value}-replay-ingest"
  topic    = google_pubsub_topic.replay[each.key].id

  enable_message_ordering      = false
  enable_exactly_once_delivery = false
  ack_deadline_seconds         = local.ack_deadline
  message_retention_duration   = local.week # the letters stay in the lake

  expiration_policy { ttl = "" }

  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "600s"
  }

  lifecycle { prevent_destroy = true }
}

resource "google_pubsub_subscription" "dead_letters" {
  name  = "dead-letters-ingest"
  topic = google_pubsub_topic.dead_letters.id

  enable_message_ordering      = false
  enable_exactly_once_delivery = false
  ack_deadline_seconds         = local.ack_deadline
  message_retention_duration   = local.week

  expiration_policy { ttl = "" }

  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "600s"
  }

  lifecycle { prevent_destroy = true }
}

# Pub/Sub moves an undelivered message itself, as its service agent: it publishes to
# the one topic and acknowledges on the other's subscription. Without these two
# grants it goes on delivering, without end and without a word.
locals {
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_pubsub_topic_iam_member" "agent_publishes" {
  for_each = var.data_types
  topic    = google_pubsub_topic.undelivered[each.key].name
  role     = "roles/pubsub.publisher"
  member   = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "agent_acknowledges" {
  for_each     = var.data_types
  subscription = google_pubsub_subscription.ingest[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

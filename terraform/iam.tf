# Who may do what. A service account for each program, and none has a key file: the
# programs run as theirs, people act as one (GCS_SERVICE_ACCOUNT_EMAIL).

locals {
  accounts = {
    ingestor  = "Takes messages into raw/; reads no rows"
    compactor = "Merges raw/ into processed/; deletes no data"
    sweeper   = "Archives and deletes what the tables no longer hold"
    backfill  = "Publishes history"
    reader    = "Reads tables, not dead letters"
    operator  = "Looks at everything, adds definitions, replays, restores"
    scheduler = "Starts the compactor and the sweeper"
  }

  buckets = {
    data    = google_storage_bucket.data.name
    archive = google_storage_bucket.archive.name
    backup  = google_storage_bucket.backup.name
    temp    = google_storage_bucket.temp.name
  }

  # The right to create is no right to overwrite: that needs the right to delete. So
  # whoever has objectCreator alone can add objects and cannot harm one.
  #
  # A listing is of a bucket, not of objects: conditions on object names do not hold
  # it back, so it has a role of its own. It shows names and sizes, no contents.
  create = "roles/storage.objectCreator"
  read   = "roles/storage.objectViewer"
  list   = google_project_iam_custom_role.list.id
  remove = google_project_iam_custom_role.remove.id

  # One line, one grant; its key says what it is for. prefixes: of object names, none
  # for the whole bucket. suffix: of object names too.
  grants = merge({
    "ingestor writes raw files"              = { who = "ingestor", bucket = "data", role = local.create, prefixes = ["raw/"] }
    "ingestor writes large dead letters"     = { who = "ingestor", bucket = "data", role = local.create, prefixes = ["payloads/"] }
    "ingestor checks that it may write"      = { who = "ingestor", bucket = "data", role = local.create, prefixes = ["metadata/write-check"] }
    "ingestor reads large replays"           = { who = "ingestor", bucket = "data", role = local.read, prefixes = ["payloads/dead_letters/"] }
    "ingestor finds definitions"             = { who = "ingestor", bucket = "data", role = local.list }
    "ingestor reads definitions"             = { who = "ingestor", bucket = "data", role = local.read, prefixes = ["metadata/schemas/"] }
    "sweeper reads the archive"              = { who = "sweeper", bucket = "archive", role = local.read }
    "sweeper archives raw files"             = { who = "sweeper", bucket = "archive", role = local.create }
    "sweeper overwrites its note"            = { who = "sweeper", bucket = "data", role = local.remove, prefixes = ["metadata/"], suffix = "/sweep.json" }
    "sweeper deletes what was swept"         = { who = "sweeper", bucket = "data", role = local.remove, prefixes = ["raw/", "processed/"] }
    "backfill reads archived files"          = { who = "backfill", bucket = "archive", role = local.read }
    "backfill finds definitions"             = { who = "backfill", bucket = "data", role = local.list }
    "backfill reads definitions"             = { who = "backfill", bucket = "data", role = local.read, prefixes = ["metadata/schemas/"] }
    "reader finds files"                     = { who = "reader", bucket = "data", role = local.list }
    "reader reads definitions and manifests" = { who = "reader", bucket = "data", role = local.read, prefixes = ["metadata/"] }
    "operator reads the lake"                = { who = "operator", bucket = "data", role = local.read }
    "operator reads the archive"             = { who = "operator", bucket = "archive", role = local.read }
    "operator reads backups"                 = { who = "operator", bucket = "backup", role = local.read }
    "operator adds, restores"                = { who = "operator", bucket = "data", role = local.create }
    "operator overwrites marks"              = { who = "operator", bucket = "data", role = local.remove, prefixes = ["metadata/holds/", "metadata/unreadable/"] }
    "operator tries the temp bucket"         = { who = "operator", bucket = "temp", role = "roles/storage.objectUser" }
    "operator backs up"                      = { who = "operator", bucket = "backup", role = local.create }
    }, {
    # Type by type, so that dead letters, with whatever somebody sent, stay closed.
    for t in keys(var.data_types) : "reader reads ${t}" =>
    { who = "reader", bucket = "data", role = local.read, prefixes = ["processed/${t}/", "raw/${t}/", "cache/${t}/"] }
    },
    # A sweep compacts first, so the sweeper may do what the compactor may. Two
    # accounts, so that the one that runs all the time can delete no data.
    merge([for p in ["compactor", "sweeper"] : {
      "${p} finds and reads files"       = { who = p, bucket = "data", role = local.read }
      "${p} writes tables"               = { who = p, bucket = "data", role = local.create, prefixes = ["processed/", "metadata/", "cache/"] }
      "${p} overwrites checkpoint hints" = { who = p, bucket = "data", role = local.remove, prefixes = ["processed/"], suffix = "/_delta_log/_last_checkpoint" }
      "${p} overwrites manifests"        = { who = p, bucket = "data", role = local.remove, prefixes = ["metadata/"], suffix = "/manifest.json" }
      "${p} overwrites its notes"        = { who = p, bucket = "data", role = local.remove, prefixes = ["metadata/leases/", "metadata/unreadable/"] }
      "${p} overwrites the cache"        = { who = p, bucket = "data", role = local.remove, prefixes = ["cache/"] }
      "${p} spills large merges"         = { who = p, bucket = "temp", role = "roles/storage.objectUser" }
  }]...))
}

resource "google_service_account" "program" {
  for_each     = local.accounts
  account_id   = "${var.name}-${each.key}"
  display_name = "${var.name} ${each.key}"
  description  = each.value
  depends_on   = [google_project_service.used]
}

resource "google_project_iam_custom_role" "list" {
  role_id     = replace("${var.name}_objects_list", "-", "_")
  title       = "${var.name}: list objects"
  permissions = ["storage.objects.list"]
}

resource "google_project_iam_custom_role" "remove" {
  role_id     = replace("${var.name}_objects_delete", "-", "_")
  title       = "${var.name}: delete or overwrite objects"
  permissions = ["storage.objects.delete"]
}

# roles/pubsub.subscriber may not look at a subscription, which the ingestor does
# when it starts, to say what is wrong with one.
resource "google_project_iam_custom_role" "consume" {
  role_id     = replace("${var.name}_subscription_consume", "-", "_")
  title       = "${var.name}: receive from a subscription"
  permissions = ["pubsub.subscriptions.consume", "pubsub.subscriptions.get"]
}

# What a subscription or topic is, without a message of it.
resource "google_project_iam_custom_role" "look" {
  role_id     = replace("${var.name}_pubsub_look", "-", "_")
  title       = "${var.name}: look at a subscription or topic"
  permissions = ["pubsub.subscriptions.get", "pubsub.topics.get"]
}

resource "google_storage_bucket_iam_member" "grant" {
  for_each = local.grants
  bucket   = local.buckets[each.value.bucket]
  role     = each.value.role
  member   = google_service_account.program[each.value.who].member

  dynamic "condition" {
    for_each = try(each.value.prefixes, null) == null ? [] : [each.value]
    content {
      title = each.key
      expression = join(" && ", concat(
        ["(${join(" || ", [for p in condition.value.prefixes : "resource.name.startsWith(\"projects/_/buckets/${local.buckets[condition.value.bucket]}/objects/${p}\")"])})"],
        try(condition.value.suffix, null) == null ? [] : ["resource.name.endsWith(\"${condition.value.suffix}\")"],
      ))
    }
  }
}

locals {
  subscriptions = merge(
    { for t, s in google_pubsub_subscription.ingest : t => s.name },
    { for t, s in google_pubsub_subscription.undelivered : "${t} undelivered" => s.name },
    { for t, s in google_pubsub_subscription.replay : "${t} replay" => s.name },
    { dead_letters = google_pubsub_subscription.dead_letters.name },
  )
  topics = merge(
    { for k, t in google_pubsub_topic.data : k => t.name },
    { for k, t in google_pubsub_topic.undelivered : "${k} undelivered" => t.name },
    { for k, t in google_pubsub_topic.replay : "${k} replay" => t.name },
    { dead_letters = google_pubsub_topic.dead_letters.name },
  )
}

# The schema of a topic that has one, by which its messages are decoded. A grant on each
# schema would have to be made whenever somebody gives a topic another; this one lets
# read what fields messages have, and no message.
resource "google_project_iam_custom_role" "schemas" {
  role_id     = replace("${var.name}_pubsub_schemas", "-", "_")
  title       = "${var.name}: read the schemas of topics"
  permissions = ["pubsub.schemas.get"]
}

resource "google_project_iam_member" "ingestor_reads_schemas" {
  project = var.project
  role    = google_project_iam_custom_role.schemas.id
  member  = google_service_account.program["ingestor"].member
}

# The ingestor receives from every subscription, …
resource "google_pubsub_subscription_iam_member" "ingestor_receives" {
  for_each     = local.subscriptions
  subscription = each.value
  role         = google_project_iam_custom_role.consume.id
  member       = google_service_account.program["ingestor"].member
}

# … and publishes what it rejects, nothing else.
resource "google_pubsub_topic_iam_member" "ingestor_rejects" {
  topic  = google_pubsub_topic.dead_letters.name
  role   = "roles/pubsub.publisher"
  member = google_service_account.program["ingestor"].member
}

# The fetchers and the backfill publish data.
resource "google_pubsub_topic_iam_member" "publish" {
  for_each = merge([for t in keys(var.data_types) : merge(
    { "backfill ${t}" = { topic = t, member = google_service_account.program["backfill"].member } },
    { for p in var.publishers : "${p} ${t}" => { topic = t, member = p } },
  )]...)
  topic  = google_pubsub_topic.data[each.value.topic].name
  role   = "roles/pubsub.publisher"
  member = each.value.member
}

# Operators, and nobody else, let dead letters come again (buffetctl dlq replay): the
# ingestor believes the ids and publish times that come on these topics.
resource "google_pubsub_topic_iam_member" "operator_replays" {
  for_each = google_pubsub_topic.replay
  topic    = each.value.name
  role     = "roles/pubsub.publisher"
  member   = google_service_account.program["operator"].member
}

# The operator sees whether all is there (buffetctl config check), and takes no message.
resource "google_pubsub_subscription_iam_member" "operator_looks" {
  for_each     = local.subscriptions
  subscription = each.value
  role         = google_project_iam_custom_role.look.id
  member       = google_service_account.program["operator"].member
}

resource "google_pubsub_topic_iam_member" "operator_looks" {
  for_each = local.topics
  topic    = each.value
  role     = google_project_iam_custom_role.look.id
  member   = google_service_account.program["operator"].member
}

# People act as an account; they hold no rights of their own.
resource "google_service_account_iam_member" "acts_as" {
  for_each = merge(
    { for m in var.operators : "${m} operator" => { account = "operator", member = m } },
    { for m in var.operators : "${m} backfill" => { account = "backfill", member = m } },
    { for m in var.analysts : "${m} reader" => { account = "reader", member = m } },
  )
  service_account_id = google_service_account.program[each.value.account].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.value.member
}

# The scheduler starts the jobs.
resource "google_cloud_run_v2_job_iam_member" "scheduler_starts" {
  for_each = google_cloud_run_v2_job.compactor
  name     = each.value.name
  location = each.value.location
  role     = "roles/run.invoker"
  member   = google_service_account.program["scheduler"].member
}

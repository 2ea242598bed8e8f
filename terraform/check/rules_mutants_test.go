package check

import (
	"strings"
	"testing"
)

// Each rule is seen failing.
func TestRulesFindMistakes(t *testing.T) {
	const (
		closed, classes, topic, subscription = "buckets are closed, encrypted and kept", "classes by age, and nothing deleted", "topics are those of the definitions", "subscriptions deliver as we need it"
		grant, condition, setting            = "grants are narrow", "conditions name what they should", "settings are those that programs read"
		fits, probe, output                  = "memory fits", "probes are served", "outputs are a configuration"
	)
	for _, tt := range []struct{ name, rule, file, old, new, want string }{
		{"access by object", closed, "storage.tf", "uniform_bucket_level_access = true", "uniform_bucket_level_access = false", "data: access is not uniform"},
		{"public", closed, "storage.tf", `"enforced"`, `"inherited"`, "data: may be made public"},
		{"another key", closed, "storage.tf", "encryption { default_kms_key_name = google_kms_crypto_key.lake.id }", "", "data: not encrypted"},
		{"no soft delete", closed, "storage.tf", "soft_delete_policy { retention_duration_seconds = var", "labels = { a = var", "does not say how long"},
		{"data may go", closed, "storage.tf", "lifecycle { prevent_destroy = true }", "", "google_storage_bucket.data: terraform may destroy it"},
		{"a subscription may go", closed, "pubsub.tf", "lifecycle { prevent_destroy = true }", "", "terraform may destroy it"},
		{"the key may go", closed, "kms.tf", "lifecycle { prevent_destroy = true }", "lifecycle { prevent_destroy = false }", "google_kms_crypto_key.lake: terraform may destroy it"},
		{"data emptied", closed, "storage.tf", `"${local.bucket_prefix}-archive"`, `"${local.bucket_prefix}-archive"` + "\nforce_destroy = true", "archive: terraform destroy would empty it"},

		{"data deleted by age", classes, "storage.tf", `type          = "SetStorageClass"`, `type = "Delete"`, `data: rules (days) are map["Delete ARCHIVE"`},
		{"an extra delete rule on data", classes, "storage.tf", `  dynamic "lifecycle_rule" {`, "lifecycle_rule {\naction { type = \"Delete\" }\ncondition {\nage = 900\nmatches_prefix = [\"raw/\"]\n}\n}\n" + `dynamic "lifecycle_rule" {`, `"Delete ":"900"`},
		{"a delete rule on backups", classes, "storage.tf", "retention_duration_seconds = 30 * local.day }", "retention_duration_seconds = 30 * local.day }\nlifecycle_rule {\naction { type = \"Delete\" }\ncondition { age = 9 }\n}", "google_storage_bucket.backup: rules"},
		{"the log moved", classes, "storage.tf", "/year=\"]", "/\"]", "a rule matches the log processed/market_data/_delta_log"},
		{"everything moved", classes, "storage.tf", "matches_prefix = local.data_files", "", "a rule without a prefix covers the log"},
		{"raw moved", classes, "storage.tf", `"processed/${t}/year="`, `"raw/${t}/year="`, "is not for data files alone"},
		{"dead letters forgotten", classes, "storage.tf", `concat(keys(var.data_types), ["dead_letters"])`, `keys(var.data_types)`, "does not cover dead_letters"},
		{"too early", classes, "storage.tf", "NEARLINE = 30", "NEARLINE = 3", `"SetStorageClass NEARLINE":"3"`},
		{"temp kept", classes, "storage.tf", "condition { age = 1 }", "condition { age = 30 }", "google_storage_bucket.temp: rules"},

		{"a type less", topic, "variables.tf", `forecasts    = "forecasts"`, "", "data_types lacks forecasts"},
		{"a topic of another name", topic, "variables.tf", `"market-data"`, `"market_data"`, "topics are"},
		{"undelivered of another name", topic, "pubsub.tf", `-undelivered"`, `-dead"`, "topics are"},
		{"dead letters of another name", topic, "pubsub.tf", `name         = "dead-letters"`, `name = "rejected"`, "topics are"},

		{"ordering", subscription, "pubsub.tf", "enable_message_ordering      = false", "enable_message_ordering = true", "enable_message_ordering is not off"},
		{"ordering, unsaid", subscription, "pubsub.tf", "enable_message_ordering      = false", "", "enable_message_ordering is not off"},
		{"exactly once", subscription, "pubsub.tf", "enable_exactly_once_delivery = false", "enable_exactly_once_delivery = true", "enable_exactly_once_delivery is not off"},
		{"expires", subscription, "pubsub.tf", `expiration_policy { ttl = "" }`, "", "expires"},
		{"few attempts", subscription, "pubsub.tf", "max_delivery_attempts = 100", "max_delivery_attempts = 5", "5 attempts, want 100"},
		{"moved to the wrong topic", subscription, "pubsub.tf", "google_pubsub_topic.undelivered[each.key].id", "google_pubsub_topic.dead_letters.id", "moves to google_pubsub_topic.dead_letters"},
		{"not moved", subscription, "pubsub.tf", "dead_letter_topic     = google_pubsub_topic.undelivered[each.key].id", "", "moves to"},
		{"kept for a day", subscription, "pubsub.tf", `"604800s"`, `"86400s"`, "keeps messages for 86400s"},
		{"another name", subscription, "pubsub.tf", `"${each.value}-ingest"`, `"${each.value}-in"`, "name market-data-in"},
		{"short deadline", subscription, "pubsub.tf", "ack_deadline = 60", "ack_deadline = 10", "ack deadline 10 s"},
		{"the wrong topic", subscription, "pubsub.tf", "topic    = google_pubsub_topic.undelivered[each.key].id", "topic = google_pubsub_topic.data[each.key].id", "nobody receives from it"},
		{"the agent may not publish", subscription, "pubsub.tf", `role     = "roles/pubsub.publisher"`, `role = "roles/pubsub.viewer"`, "Pub/Sub may not move"},
		{"the agent may not acknowledge", subscription, "pubsub.tf", `member       = local.pubsub_agent`, `member = "allUsers"`, "Pub/Sub may not move"},
		{"impatient", subscription, "pubsub.tf", `maximum_backoff = "600s"`, `maximum_backoff = "60s"`, "longest pause 1m0s"},

		{"an administrator", grant, "iam.tf", `create = "roles/storage.objectCreator"`, `create = "roles/storage.admin"`, "roles/storage.admin is not one of those weighed"},
		{"raw without a condition", grant, "iam.tf", `role = local.create, prefixes = ["raw/"] }`, `role = local.create }`, "in the whole bucket"},
		{"an ingestor that reads", grant, "iam.tf", `role = local.create, prefixes = ["raw/"] }`, `role = local.read, prefixes = ["raw/"] }`, "the ingestor reads no data"},
		{"an ingestor that deletes", grant, "iam.tf", `role = local.create, prefixes = ["raw/"] }`, `role = local.remove, prefixes = ["raw/"] }`, "ingestor may delete"},
		{"a reader of dead letters", grant, "iam.tf", `"raw/${t}/", "cache/${t}/"] }`, `"raw/dead_letters/"] }`, "dead letters are not for readers"},
		{"a compactor that deletes anywhere", grant, "iam.tf", `role = local.remove, prefixes = ["cache/"] }`, `role = local.remove }`, "compactor may delete from data"},
		{"all of data", grant, "iam.tf", `bucket = "temp", role = "roles/storage.objectUser"`, `bucket = "data", role = "roles/storage.objectUser"`, "may do anything in data"},
		{"analysts as operator", grant, "iam.tf", `account = "reader", member`, `account = "operator", member`, "group:analysts as operator"},
		{"an ingestor that cannot receive", grant, "iam.tf", "{ dead_letters = google_pubsub_subscription.dead_letters.name },", "", "google_pubsub_subscription.dead_letters: the ingestor may not receive"},
		{"an operator that cannot look at subscriptions", grant, "iam.tf", `"${t} undelivered" => s.name }`, `"${t} undelivered" => "x" }`, "google_pubsub_subscription.undelivered[forecasts]: the operator may not look"},
		{"an operator that cannot look at topics", grant, "iam.tf", "{ for k, t in google_pubsub_topic.data : k => t.name },", "", "google_pubsub_topic.data[forecasts]: the operator may not look"},
		{"publishers replay", grant, "iam.tf", "topic  = google_pubsub_topic.data[each.value.topic].name", "topic  = google_pubsub_topic.replay[each.value.topic].name", "want the operator alone"},
		{"nobody replays", grant, "iam.tf", "for_each = google_pubsub_topic.replay", "for_each = google_pubsub_topic.undelivered", "want the operator alone"},
		{"a schemas role that does more", grant, "iam.tf", `["pubsub.schemas.get"]`, `["pubsub.schemas.get", "pubsub.schemas.delete"]`, "the role of schemas"},
		{"another role in the whole project", grant, "iam.tf", "role    = google_project_iam_custom_role.schemas.id", "role    = google_project_iam_custom_role.consume.id", "no right to the whole project"},
		{"replays of another name", topic, "pubsub.tf", `-replay"`, `-again"`, "topics are"},
		{"an ingestor that cannot reject", grant, "iam.tf", "topic  = google_pubsub_topic.dead_letters.name", `topic = google_pubsub_topic.data["forecasts"].name`, "may not publish dead letters"},

		{"a condition on another bucket", condition, "iam.tf", `local.buckets[condition.value.bucket]}/objects`, `local.buckets["temp"]}/objects`, "condition on bucket temp"},
		{"a condition of all objects", condition, "iam.tf", `"resource.name.startsWith(\"projects/_/buckets/${`, `"resource.name.startsWith(\"${`, "condition ("},
		{"more of processed/", condition, "iam.tf", `suffix = "/_delta_log/_last_checkpoint"`, `suffix = "/_delta_log/"`, "processed/*/_delta_log/"},
		{"definitions deleted", condition, "iam.tf", `prefixes = ["metadata/"], suffix = "/manifest.json" }`, `prefixes = ["metadata/"] }`, `"metadata/"`},
		{"delete from raw", condition, "iam.tf", `role = local.remove, prefixes = ["cache/"] }`, `role = local.remove, prefixes = ["raw/"] }`, `compactor google_project_iam_custom_role.remove.id: on ["metadata/*/manifest.json" "metadata/leases/" "metadata/unreadable/" "processed/*/_delta_log/_last_checkpoint" "raw/"]`},
		{"the sweeper deletes payloads", condition, "iam.tf", `prefixes = ["raw/", "processed/"] }`, `prefixes = ["raw/", "processed/", "payloads/"] }`, "sweeper google_project_iam_custom_role.remove.id"},
		{"the ingestor as sweeper", grant, "iam.tf", `{ who = "sweeper", bucket = "data", role = local.remove`, `{ who = "ingestor", bucket = "data", role = local.remove`, "ingestor may delete"},
		{"no write check", condition, "iam.tf", `"metadata/write-check"`, `"metadata/check"`, "metadata/check"},

		{"a variable nobody reads", setting, "run.tf", "GCS_TEMP_BUCKET  ", "GCS_TMP_BUCKET ", "nothing reads GCS_TMP_BUCKET"},
		{"a setting of the other program", setting, "run.tf", "COMPACT_MEMORY_BUDGET", "MEMORY_BUDGET", "nothing reads MEMORY_BUDGET"},
		{"buckets mixed up", setting, "run.tf", "GCS_ARCHIVE_BUCKET   = google_storage_bucket.archive", "GCS_ARCHIVE_BUCKET = google_storage_bucket.data", `GCS_ARCHIVE_BUCKET = "google_storage_bucket.data.name"`},
		{"dead letters not received", setting, "run.tf", `, ["dead_letters"])`, ")", "DATA_TYPES"},
		{"a drain that is killed", setting, "run.tf", `"8s"`, `"60s"`, "DRAIN_DEADLINE"},
		{"acting as another", setting, "run.tf", "GCS_REGION ", `GCS_SERVICE_ACCOUNT_EMAIL = "x"` + "\nGCS_REGION ", "GCS_SERVICE_ACCOUNT_EMAIL"},

		{"a budget of everything", fits, "run.tf", "var.ingestor_memory_mib / 4", "var.ingestor_memory_mib", "ingestor: budget 1024"},
		{"a limit of nothing", fits, "run.tf", "var.compactor_memory_mib * 0.9", "var.compactor_memory_mib * 1.1", "sweeper: budget 1024"},

		{"a probe of another page", probe, "run.tf", `path = "/readyz"`, `path = "/ready"`, "startup_probe asks /ready "},
		{"a probe of another port", probe, "run.tf", `":${local.health_port}"`, `":8080"`, "liveness_probe asks /healthz at port 9090"},
		{"restarted when not ready", probe, "run.tf", `path = "/healthz"`, `path = "/readyz"`, "liveness_probe asks /readyz"},

		{"an output of another name", output, "outputs.tf", "data_bucket_name ", "data_bucket ", "output storage_config"},
		{"an output less", output, "outputs.tf", "GOOGLE_CLOUD_PROJECT = var.project", "", "output deployment_variables"},
		{"the reader as operator", output, "outputs.tf", `program["operator"].email`, `program["reader"].email`, "output storage_config"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := strings.Join(rules[tt.rule](load(t, mutant(t, tt.file, tt.old, tt.new))), "\n")
			if !strings.Contains(found, tt.want) {
				t.Errorf("%s finds\n%s\nwant %q", tt.rule, found, tt.want)
			}
		})
	}
}

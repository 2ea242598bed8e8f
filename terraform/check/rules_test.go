package check

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"
)

// A rule says what is wrong with the files, a line each.
type rule func(m *module) []string

var rules = map[string]rule{
	"buckets are closed, encrypted and kept": closedBuckets,
	"classes by age, and nothing deleted":    lifecycles,
	"topics are those of the definitions":    topics,
	"subscriptions deliver as we need it":    subscriptions,
	"grants are narrow":                      grants,
	"conditions name what they should":       conditions,
	"settings are those that programs read":  environment,
	"memory fits":                            memory,
	"probes are served":                      probes,
	"outputs are a configuration":            outputs,
}

func TestRules(t *testing.T) {
	m := load(t, "..")
	for name, check := range rules {
		t.Run(name, func(t *testing.T) {
			m.t = t
			for _, wrong := range check(m) {
				t.Error(wrong)
			}
		})
	}
}

// complaints gathers what is wrong.
type complaints []string

func (c *complaints) unless(ok bool, format string, args ...any) {
	if !ok {
		*c = append(*c, fmt.Sprintf(format, args...))
	}
}

func closedBuckets(m *module) []string {
	var c complaints
	for _, b := range m.of("google_storage_bucket") {
		c.unless(b.value("uniform_bucket_level_access").RawEquals(cty.True), "%s: access is not uniform: conditions do not hold", b.address)
		c.unless(b.node().text("public_access_prevention") == "enforced", "%s: may be made public", b.address)
		c.unless(b.node().block("encryption").text("default_kms_key_name") == "google_kms_crypto_key.lake.id", "%s: not encrypted with the lake's key", b.address)
		c.unless(len(b.node().blocks("soft_delete_policy")) == 1, "%s: does not say how long what is deleted can be brought back", b.address)
		if b.address != "google_storage_bucket.temp" {
			c.unless(b.value("force_destroy").IsNull(), "%s: terraform destroy would empty it", b.address)
			c.kept(b)
		}
	}
	for _, s := range m.of("google_pubsub_subscription") {
		c.kept(s)
	}
	c.kept(m.resources["google_kms_crypto_key.lake"])
	return c
}

func (c *complaints) kept(r resource) {
	c.unless(r.node().block("lifecycle").value("prevent_destroy").RawEquals(cty.True), "%s: terraform may destroy it", r.address)
}

var dataPrefix = regexp.MustCompile(`^processed/([a-z_]+)/year=$`)

func lifecycles(m *module) []string {
	var c complaints
	types := definitions(m.t)
	for _, b := range m.of("google_storage_bucket") {
		ages, name := map[string]string{}, strings.TrimPrefix(b.address, "google_storage_bucket.")
		for _, rule := range b.node().blocks("lifecycle_rule") {
			action, condition := rule.block("action"), rule.block("condition")
			ages[action.text("type")+" "+action.text("storage_class")] = condition.text("age")
			if name != "data" {
				continue
			}
			prefixes := texts(condition.value("matches_prefix"))
			covered := map[string]bool{}
			for _, p := range prefixes {
				match := dataPrefix.FindStringSubmatch(p)
				c.unless(match != nil, "%s: a rule for %q is not for data files alone", b.address, p)
				if match != nil {
					covered[match[1]] = true
				}
			}
			for dataType := range types {
				c.unless(covered[dataType], "%s: a rule does not cover %s (a rule without a prefix covers the log)", b.address, dataType)
				log := "processed/" + dataType + "/_delta_log/00000000000000000000.json"
				c.unless(!slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(log, p) }), "%s: a rule matches the log %s", b.address, log)
			}
		}
		want := map[string]map[string]string{
			"data":    {"SetStorageClass NEARLINE": "30", "SetStorageClass COLDLINE": "90", "SetStorageClass ARCHIVE": "365"},
			"archive": {"SetStorageClass NEARLINE": "30", "SetStorageClass COLDLINE": "90", "SetStorageClass ARCHIVE": "365"},
			"backup":  {},
			"temp":    {"Delete ": "1", "AbortIncompleteMultipartUpload ": "1"},
		}[name]
		c.unless(want != nil && maps.Equal(ages, want), "%s: rules (days) are %q, want %q", b.address, ages, want)
	}
	return c
}

// deadLetterTopic is the default of the ingestor's setting.
func deadLetterTopic(m *module) string {
	return settings(m.t, "IngestorSettings")["DEAD_LETTER_TOPIC"].fallback
}

func topics(m *module) []string {
	var c complaints
	var want, got []string
	for dataType, topic := range definitions(m.t) {
		if dataType == "dead_letters" {
			c.unless(topic == deadLetterTopic(m), "the topic of dead_letters is %s, the ingestor's default is %s", topic, deadLetterTopic(m))
			want = append(want, topic)
			continue
		}
		want = append(want, topic, topic+suffix(m, "undelivered.go", "UndeliveredSuffix"), topic+suffix(m, "replay.go", "ReplaySuffix"))
		c.unless(m.resources["google_pubsub_topic.data["+dataType+"]"].body != nil, "data_types lacks %s", dataType)
	}
	for _, t := range m.of("google_pubsub_topic") {
		got = append(got, t.node().text("name"))
	}
	slices.Sort(want)
	slices.Sort(got)
	c.unless(slices.Equal(got, want), "topics are %q, want %q", got, want)
	return c
}

// suffix is what the ingestor puts behind a topic's name.
func suffix(m *module, file, constant string) string {
	text, err := os.ReadFile("../../deadletter/" + file)
	match := regexp.MustCompile(constant + `\s*=\s*"([^"]+)"`).FindSubmatch(text)
	if match == nil {
		m.t.Fatalf("no %s in package deadletter: %v", constant, err)
	}
	return string(match[1])
}

func subscriptions(m *module) []string {
	var c complaints
	// The name is <topic>-ingest, as the ingestor has it.
	c.unless(strings.Contains(settings(m.t, "IngestorSettings")["SUBSCRIPTIONS"].help, "<topic>-ingest"), "the ingestor names subscriptions otherwise")
	of := map[string]string{} // subscriptions' policies by topic
	for _, s := range m.of("google_pubsub_subscription") {
		n := s.node()
		topic, ok := m.resources[strings.TrimSuffix(n.text("topic"), ".id")]
		if !ok {
			c.unless(false, "%s: topic %s is not ours", s.address, n.text("topic"))
			continue
		}
		c.unless(n.text("name") == topic.node().text("name")+"-ingest", "%s: name %s, of topic %s", s.address, n.text("name"), topic.node().text("name"))
		of[topic.address] = s.address
		for _, off := range []string{"enable_message_ordering", "enable_exactly_once_delivery"} {
			c.unless(n.value(off).RawEquals(cty.False), "%s: %s is not off", s.address, off)
		}
		c.unless(!n.block("expiration_policy").value("ttl").IsNull() && n.block("expiration_policy").text("ttl") == "", "%s: expires", s.address)
		retention, err := time.ParseDuration(n.text("message_retention_duration"))
		c.unless(err == nil && retention >= 7*24*time.Hour && retention <= 31*24*time.Hour, "%s: keeps messages for %s", s.address, n.text("message_retention_duration"))
		deadline, _ := strconv.Atoi(n.text("ack_deadline_seconds"))
		c.unless(deadline >= 60 && deadline <= 600, "%s: ack deadline %d s", s.address, deadline)
		most, _ := time.ParseDuration(n.block("retry_policy").text("maximum_backoff"))
		c.unless(most == 10*time.Minute, "%s: longest pause %v", s.address, most)

		policy := n.blocks("dead_letter_policy")
		if !strings.HasPrefix(topic.address, "google_pubsub_topic.data[") {
			c.unless(len(policy) == 0, "%s: there is nowhere to move its messages", s.address)
			continue
		}
		c.unless(n.block("dead_letter_policy").text("max_delivery_attempts") == "100", "%s: %s attempts, want 100", s.address, n.block("dead_letter_policy").text("max_delivery_attempts"))
		c.unless(n.block("dead_letter_policy").text("dead_letter_topic") == "google_pubsub_topic.undelivered["+s.key+"].id", "%s: moves to %s", s.address, n.block("dead_letter_policy").text("dead_letter_topic"))
	}
	for _, t := range m.of("google_pubsub_topic") {
		c.unless(of[t.address] != "", "%s: nobody receives from it", t.address)
	}
	c.agent(m)
	return c
}

// agent checks that Pub/Sub itself may move undelivered messages.
func (c *complaints) agent(m *module) {
	const who = "serviceAccount:service-data.google_project.this.number@gcp-sa-pubsub.iam.gserviceaccount.com"
	for _, s := range m.of("google_pubsub_subscription") {
		target := s.node().block("dead_letter_policy").text("dead_letter_topic")
		if target == "" {
			continue
		}
		publish := m.granted("google_pubsub_topic_iam_member", "topic", strings.TrimSuffix(target, ".id")+".name", "roles/pubsub.publisher", who)
		acknowledge := m.granted("google_pubsub_subscription_iam_member", "subscription", s.address+".name", "roles/pubsub.subscriber", who)
		c.unless(publish && acknowledge, "%s: Pub/Sub may not move what it gives up", s.address)
	}
}

func (m *module) granted(kind, on, what, role, who string) bool {
	return slices.ContainsFunc(m.of(kind), func(r resource) bool {
		n := r.node()
		return n.text(on) == what && n.text("role") == role && n.text("member") == who
	})
}

// A container is one program as it is deployed, with the struct of its settings.
type container struct {
	node
	name, settings, budget string
}

func containers(m *module) []container {
	job := func(key string) container {
		n := m.resources["google_cloud_run_v2_job.compactor["+key+"]"].node().block("template").block("template").block("containers")
		return container{n, key, "CompactorSettings", "COMPACT_MEMORY_BUDGET"}
	}
	return []container{ingestor(m), job("compactor"), job("sweeper")}
}

func ingestor(m *module) container {
	n := m.resources["google_cloud_run_v2_worker_pool.ingestor"].node().block("template").block("containers")
	return container{n, "ingestor", "IngestorSettings", "MEMORY_BUDGET"}
}

func env(container container) map[string]string {
	all := map[string]string{}
	for _, e := range container.blocks("env") {
		all[e.text("name")] = e.text("value")
	}
	return all
}

func environment(m *module) []string {
	var c complaints
	for _, p := range containers(m) {
		name, read, given := p.name, settings(m.t, p.settings), env(p)
		for variable := range given {
			_, ok := read[variable]
			c.unless(ok || variable == "GOMEMLIMIT", "%s: nothing reads %s", name, variable)
		}
		for variable, want := range map[string]string{
			"GOOGLE_CLOUD_PROJECT": "my-project", "GCS_KMS_KEY_ID": "google_kms_crypto_key.lake.id", "GCS_SERVICE_ACCOUNT_EMAIL": "",
			"GCS_DATA_BUCKET": "google_storage_bucket.data.name", "GCS_ARCHIVE_BUCKET": "google_storage_bucket.archive.name",
			"GCS_BACKUP_BUCKET": "google_storage_bucket.backup.name", "GCS_TEMP_BUCKET": "google_storage_bucket.temp.name",
		} {
			c.unless(given[variable] == want, "%s: %s = %q, want %q", name, variable, given[variable], want)
		}
	}
	given := env(ingestor(m))
	types := strings.Split(given["DATA_TYPES"], ",")
	slices.Sort(types)
	want := slices.Sorted(maps.Keys(definitions(m.t)))
	c.unless(slices.Equal(types, want), "DATA_TYPES = %q, want %q", types, want)
	drain, err := time.ParseDuration(given["DRAIN_DEADLINE"])
	c.unless(err == nil && drain < 10*time.Second, "DRAIN_DEADLINE = %q: Cloud Run kills 10 s after SIGTERM", given["DRAIN_DEADLINE"])
	return c
}

func memory(m *module) []string {
	var c complaints
	for _, p := range containers(m) {
		given := env(p)
		limit := mebibytes(fields(p.block("resources").value("limits"))["memory"] + "B")
		soft, held := mebibytes(given["GOMEMLIMIT"]), mebibytes(given[p.budget])
		c.unless(held > 0 && 3*held <= soft && soft < limit, "%s: budget %d of GOMEMLIMIT %d of %d MiB: want at most a third, and less than the limit", p.name, held, soft, limit)
	}
	return c
}

func mebibytes(text string) int {
	n, err := strconv.Atoi(strings.TrimSuffix(text, "MiB"))
	if err != nil {
		return -1
	}
	return n
}

func probes(m *module) []string {
	var c complaints
	container := ingestor(m)
	for probe, path := range map[string]string{"startup_probe": "/readyz", "liveness_probe": "/healthz"} {
		get := container.block(probe).block("http_get")
		c.unless(get.text("path") == path && ":"+get.text("port") == env(container)["LISTEN_ADDR"],
			"%s asks %s at port %s; want %s at %s", probe, get.text("path"), get.text("port"), path, env(container)["LISTEN_ADDR"])
	}
	return c
}

func outputs(m *module) []string {
	var c complaints
	for output, want := range map[string]map[string]string{
		"storage_config": {
			"data_bucket_name": "google_storage_bucket.data.name", "archive_bucket_name": "google_storage_bucket.archive.name",
			"backup_bucket_name": "google_storage_bucket.backup.name", "temp_bucket_name": "google_storage_bucket.temp.name",
			"storage_service_account_email": "google_service_account.program[operator].email",
			"storage_kms_key_id":            "google_kms_crypto_key.lake.id", "region": "us-central1",
		},
		"deployment_variables": {"GOOGLE_CLOUD_PROJECT": "my-project"},
	} {
		if output == "storage_config" {
			read := outputFields(m)
			c.unless(slices.Equal(read, slices.Sorted(maps.Keys(want))), "package config reads %q of storage_config", read)
		}
		v, ok := m.outputs[output]
		c.unless(ok && maps.Equal(fields(v), want), "output %s is %v, want %v", output, v, want)
	}
	return c
}

// outputFields are the fields of storage_config that package config reads.
func outputFields(m *module) []string {
	text, err := os.ReadFile("../../config/terraform.go")
	if err != nil {
		m.t.Fatal(err)
	}
	var all []string
	for _, match := range regexp.MustCompile(`"GCS_\w+":\s+"(\w+)"`).FindAllStringSubmatch(string(text), -1) {
		all = append(all, match[1])
	}
	slices.Sort(all)
	return all
}

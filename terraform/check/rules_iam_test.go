package check

import (
	"regexp"
	"slices"
	"strings"
)

const (
	listRole    = "google_project_iam_custom_role.list.id"
	removeRole  = "google_project_iam_custom_role.remove.id"
	lookRole    = "google_project_iam_custom_role.look.id"
	consumeRole = "google_project_iam_custom_role.consume.id"
	schemasRole = "google_project_iam_custom_role.schemas.id"
)

func grants(m *module) []string {
	var c complaints
	narrow := map[string]bool{
		"roles/storage.objectCreator": true, "roles/storage.objectViewer": true, "roles/storage.objectUser": true,
		"roles/pubsub.publisher": true, "roles/pubsub.subscriber": true, "roles/cloudkms.cryptoKeyEncrypterDecrypter": true,
		"roles/iam.serviceAccountTokenCreator": true, "roles/run.invoker": true,
		listRole: true, removeRole: true, consumeRole: true, lookRole: true, schemasRole: true,
	}
	for _, r := range m.resources {
		if role := r.value("role"); !role.IsNull() {
			c.unless(narrow[text(role)], "%s: role %s is not one of those weighed here", r.address, text(role))
		}
		schemas := r.kind == "google_project_iam_member" && r.node().text("role") == schemasRole && program(r.node().text("member")) == "ingestor"
		c.unless(schemas || r.kind != "google_project_iam_member" && r.kind != "google_service_account_key", "%s: no right to the whole project, no key file", r.address)
	}
	for _, r := range m.of("google_storage_bucket_iam_member") {
		n := r.node()
		who, bucket, role := program(n.text("member")), bucketOf(n), n.text("role")
		restricted := len(n.blocks("condition")) == 1
		switch {
		case role == removeRole:
			marks := who == "operator" && restricted && !strings.Contains(n.block("condition").text("expression"), "/objects/raw/") &&
				!strings.Contains(n.block("condition").text("expression"), "/objects/processed/")
			c.unless((who == "compactor" || who == "sweeper" || marks) && bucket == "data" && restricted, "%s: %s may delete from %s", r.address, who, bucket)
		case role == "roles/storage.objectUser":
			c.unless(bucket == "temp", "%s: %s may do anything in %s", r.address, who, bucket)
		case bucket == "data" && role != listRole && (who == "ingestor" || who == "reader" || who == "backfill"):
			c.unless(restricted, "%s: %s in the whole bucket", r.address, role)
		}
		if who == "ingestor" && restricted {
			expression := n.block("condition").text("expression")
			c.unless(role == "roles/storage.objectCreator" || strings.Contains(expression, "/objects/metadata/schemas/") || strings.Contains(expression, "/objects/payloads/dead_letters/"), "%s: the ingestor reads no data", r.address)
		}
		if who == "reader" && restricted {
			c.unless(!strings.Contains(n.block("condition").text("expression"), "dead_letters"), "%s: dead letters are not for readers", r.address)
		}
	}
	var acts []string
	for _, r := range m.of("google_service_account_iam_member") {
		acts = append(acts, r.node().text("member")+" as "+program(strings.TrimSuffix(r.node().text("service_account_id"), ".name")+".member"))
	}
	slices.Sort(acts)
	c.unless(slices.Equal(acts, []string{"group:analysts as reader", "group:operators as backfill", "group:operators as operator"}), "people act as accounts: %q", acts)
	return append(c, delivery(m)...)
}

// delivery says which subscriptions and topics the programs cannot use, or may and should not.
func delivery(m *module) []string {
	var c complaints
	const ingestor, operator = "google_service_account.program[ingestor].member", "google_service_account.program[operator].member"
	for _, s := range m.of("google_pubsub_subscription") {
		may := func(role, who string) bool {
			return m.granted("google_pubsub_subscription_iam_member", "subscription", s.address+".name", role, who)
		}
		c.unless(may(consumeRole, ingestor), "%s: the ingestor may not receive from it", s.address)
		c.unless(may(lookRole, operator), "%s: the operator may not look at it", s.address)
	}
	for _, t := range m.of("google_pubsub_topic") {
		c.unless(m.granted("google_pubsub_topic_iam_member", "topic", t.address+".name", lookRole, operator), "%s: the operator may not look at it", t.address)
	}
	for _, r := range m.of("google_pubsub_topic_iam_member") {
		n := r.node()
		c.unless(n.text("member") != ingestor || n.text("topic") == "google_pubsub_topic.dead_letters.name", "%s: the ingestor publishes data", r.address)
	}
	for _, t := range m.of("google_pubsub_topic") {
		if !strings.HasPrefix(t.address, "google_pubsub_topic.replay[") {
			continue
		}
		may := []string{}
		for _, r := range m.of("google_pubsub_topic_iam_member") {
			if n := r.node(); n.text("topic") == t.address+".name" && n.text("role") == "roles/pubsub.publisher" {
				may = append(may, n.text("member"))
			}
		}
		c.unless(slices.Equal(may, []string{operator}), "%s: %q may publish, want the operator alone", t.address, may)
	}
	c.unless(slices.ContainsFunc(m.of("google_project_iam_custom_role"), func(r resource) bool {
		p := r.node().value("permissions")
		return r.address+".id" == schemasRole && p.LengthInt() == 1 && p.AsValueSlice()[0].AsString() == "pubsub.schemas.get"
	}), "the role of schemas lets more be done, or other things, than pubsub.schemas.get")
	c.unless(slices.ContainsFunc(m.of("google_project_iam_member"), func(r resource) bool {
		return r.node().text("role") == schemasRole && r.node().text("member") == ingestor
	}), "the ingestor may not read the schemas of topics")
	c.unless(m.granted("google_pubsub_topic_iam_member", "topic", "google_pubsub_topic.dead_letters.name", "roles/pubsub.publisher", ingestor), "the ingestor may not publish dead letters")
	return c
}

func program(member string) string {
	return strings.TrimSuffix(strings.TrimPrefix(member, "google_service_account.program["), "].member")
}

func bucketOf(n node) string {
	return strings.TrimSuffix(strings.TrimPrefix(n.text("bucket"), "google_storage_bucket."), ".name")
}

var clause = regexp.MustCompile(`resource\.name\.startsWith\("projects/_/buckets/google_storage_bucket\.(\w+)\.name/objects/([^"]*)"\)`)

var (
	ending       = regexp.MustCompile(` && resource\.name\.endsWith\("([^"]*)"\)$`)
	alternatives = regexp.MustCompile(`^\(P( \|\| P)*\)$`)
)

func conditions(m *module) []string {
	var c complaints
	covered := map[string][]string{}
	for _, r := range m.of("google_storage_bucket_iam_member") {
		n := r.node()
		for _, condition := range n.blocks("condition") {
			expression := condition.text("expression")
			suffix := ""
			if match := ending.FindStringSubmatch(expression); match != nil {
				suffix = match[1]
			}
			rest := clause.ReplaceAllStringFunc(ending.ReplaceAllString(expression, ""), func(one string) string {
				match := clause.FindStringSubmatch(one)
				c.unless(match[1] == bucketOf(n), "%s: condition on bucket %s, grant on %s", r.address, match[1], bucketOf(n))
				key := program(n.text("member")) + " " + n.text("role")
				covered[key] = append(covered[key], strings.TrimSuffix(match[2]+"*"+suffix, "*"))
				return "P"
			})
			c.unless(alternatives.MatchString(rest), "%s: condition %s", r.address, expression)
			c.unless(strings.Count(expression, "||")+strings.Count(expression, "&&") < 12, "%s: more operators than a condition may have", r.address)
			c.unless(len(condition.text("title")) <= 100, "%s: title longer than 100", r.address)
		}
	}
	for key, want := range map[string][]string{
		"ingestor roles/storage.objectCreator":  {"metadata/write-check", "payloads/", "raw/"},
		"compactor roles/storage.objectCreator": {"cache/", "metadata/", "processed/"},
		"compactor " + removeRole:               {"cache/", "metadata/*/manifest.json", "metadata/leases/", "metadata/unreadable/", "processed/*/_delta_log/_last_checkpoint"},
		"operator " + removeRole:                {"metadata/holds/", "metadata/unreadable/"},
		"sweeper " + removeRole: {"cache/", "metadata/*/manifest.json", "metadata/*/sweep.json", "metadata/leases/", "metadata/unreadable/",
			"processed/", "processed/*/_delta_log/_last_checkpoint", "raw/"},
	} {
		got := slices.Sorted(slices.Values(covered[key]))
		c.unless(slices.Equal(got, want), "%s: on %q, want %q", key, got, want)
	}
	return c
}

package deadletter

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// UndeliveredSuffix makes the name of the topic to which the broker moves what it
// gives up delivering on a subscription of a topic.
const UndeliveredSuffix = "-undelivered"

// What the broker's own dead-letter policy adds to a message.
const (
	policyPrefix       = "CloudPubSubDeadLetter"
	policyCount        = "CloudPubSubDeadLetterSourceDeliveryCount"
	policySubscription = "CloudPubSubDeadLetterSourceSubscription"
	policyPublishTime  = "CloudPubSubDeadLetterSourceTopicPublishTime"
	policyError        = "CloudPubSubDeadLetterSourceDeliveryErrorMessage"
)

// Adopt turns a message of the topic <topic>-undelivered into the envelope of its
// dead letter, as if we had published it, for a Decoder to read. The envelope
// keeps no limits, since it is never sent, and shares the message's data.
func Adopt(dataType, topic string, m *schema.Message) schema.Message {
	l := giveUp(dataType, topic, m)
	a := l.own()
	for key, value := range l.Attributes {
		a[originalPrefix+key] = value
	}
	return schema.Message{ID: m.ID, Data: m.Data, Attributes: a, PublishTime: m.PublishTime}
}

// giveUp is the letter of a message that the broker gave up delivering. Where
// dataType and topic are empty, the subscription's name tells, if it is one of
// ours.
func giveUp(dataType, topic string, m *schema.Message) *Letter {
	subscription := m.Attributes[policySubscription]
	if t, ours := strings.CutSuffix(subscription, "-ingest"); ours && t != "" {
		topic = valid(cmp.Or(topic, t))
		dataType = cmp.Or(dataType, strings.ReplaceAll(topic, "-", "_"))
	}
	l := &Letter{
		DataType: cmp.Or(dataType, UnknownType), Reason: Undelivered, Explanation: valid(gaveUp(subscription, m.Attributes)),
		MessageID: valid(m.ID), PublishedAt: time.UnixMicro(m.PublishTime.UnixMicro()).UTC(),
		Topic: topic, OrderingKey: valid(m.OrderingKey), Attributes: validAll(m.Attributes),
		Form: WholeMessage, Record: m.Data,
	}
	maps.DeleteFunc(l.Attributes, func(key, _ string) bool { return strings.HasPrefix(key, policyPrefix) })
	if n, err := strconv.ParseInt(m.Attributes[policyCount], 10, 32); err == nil && n > 0 {
		l.Attempt = int32(n)
	}
	identity := "m:" + topic + UndeliveredSuffix + "/" + m.ID
	t, err := time.Parse(time.RFC3339Nano, m.Attributes[policyPublishTime])
	if err == nil && t.Year() >= 1900 && !t.After(m.PublishTime) {
		l.PublishedAt = t.UTC().Truncate(time.Microsecond)
		identity = "d:" + subscription + "/" + l.digest()
	}
	l.ID = makeID(l.DataType, identity, 0, l.PublishedAt.UnixMicro())
	return l
}

// digest hashes what was published. The broker may move a message several times,
// each time under a new id; with the time of publishing this tells that it is
// the same.
func (l *Letter) digest() string {
	h := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(l.Attributes)) {
		fmt.Fprintf(h, "%q=%q\n", key, l.Attributes[key])
	}
	fmt.Fprintf(h, "%q\n", l.OrderingKey)
	h.Write(l.Record)
	return hex.EncodeToString(h.Sum(nil))
}

// gaveUp says in words what the policy's attributes tell.
func gaveUp(subscription string, a map[string]string) string {
	text := fmt.Sprintf("subscription %s gave up after %s deliveries", cmp.Or(subscription, "unknown"), cmp.Or(a[policyCount], "too many"))
	if why := a[policyError]; why != "" {
		text += ": " + why
	}
	return text
}

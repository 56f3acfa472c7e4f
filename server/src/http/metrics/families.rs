//! The metrics, one after the other.

use std::fmt;

use mezzenger::inspect::NameOverview;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::super::model::{rejections, seconds};
use super::Gathered;
use super::writer::{OTHER, Writer, with_other};

impl Collector for Gathered {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Writer(encoder);
        self.requests(&mut to)?;
        self.messages(&mut to)?;
        self.connections(&mut to)?;
        self.groups(&mut to)?;
        self.names(&mut to)?;
        self.journal(&mut to)?;
        self.process(&mut to)
    }
}

impl Gathered {
    fn requests(&self, to: &mut Writer<'_>) -> fmt::Result {
        let (metrics, traffic) = (&self.overview.metrics, &self.overview.traffic);
        let mut build = to.begin(
            "mezzenger_build_info",
            "The version of the server, which is 1.",
            None,
            MetricType::Gauge,
        )?;
        build.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?.encode_gauge(&1.0)?;
        let draining = u64::from(self.overview.is_draining);
        to.gauge("mezzenger_draining", "1 when the server ends and rejects messages.", draining)?;
        to.counter("mezzenger_requests", "Requests read.", metrics.requests)?;
        to.counters(
            "mezzenger_requests_rejected",
            "Requests rejected, by the reason.",
            None,
            "reason",
            rejections(traffic),
        )?;
        to.counter_in(
            "mezzenger_received",
            "Bytes read from connections.",
            Some(&Unit::Bytes),
            traffic.received_bytes as f64,
        )?;
        to.counter_in(
            "mezzenger_sent",
            "Bytes written to connections.",
            Some(&Unit::Bytes),
            traffic.sent_bytes as f64,
        )?;
        to.times(
            "mezzenger_turn_duration",
            "How long turns of the broker's thread took, without its waits.",
            &traffic.turns,
        )
    }

    fn messages(&self, to: &mut Writer<'_>) -> fmt::Result {
        let (overview, metrics) = (&self.overview, &self.overview.metrics);
        let bytes = Some(&Unit::Bytes);
        to.counter(
            "mezzenger_messages_accepted",
            "Messages accepted, without the duplicates.",
            metrics.accepted,
        )?;
        to.counter(
            "mezzenger_messages_duplicate",
            "Messages recognised as sent before.",
            metrics.duplicates,
        )?;
        to.counter(
            "mezzenger_messages_delivered",
            "Messages queued for subscribers, each counted for each of them and each time.",
            overview.traffic.delivered,
        )?;
        to.counter(
            "mezzenger_messages_redelivered",
            "Messages sent again because nobody acknowledged them in time.",
            metrics.resent,
        )?;
        to.counter(
            "mezzenger_messages_acknowledged",
            "Messages acknowledged by all who had to.",
            metrics.settled,
        )?;
        to.counter("mezzenger_messages_expired", "Messages whose time was over.", metrics.expired)?;
        to.counter(
            "mezzenger_messages_dropped",
            "Messages that subscriptions without credit did not get.",
            metrics.messages_dropped,
        )?;
        to.counter(
            "mezzenger_frames_dropped",
            "Frames dropped because a subscriber did not keep up.",
            metrics.frames_dropped,
        )?;
        to.gauge(
            "mezzenger_messages_recovered",
            "Messages found in the journal at the start.",
            metrics.recovered,
        )?;
        to.gauge(
            "mezzenger_pending_messages",
            "Messages that wait for an acknowledgement.",
            metrics.pending_messages,
        )?;
        to.gauge_in(
            "mezzenger_pending",
            "Bytes of messages that wait for an acknowledgement.",
            bytes,
            metrics.pending_bytes as f64,
        )?;
        to.gauge(
            "mezzenger_pending_limit_messages",
            "Messages that may wait for an acknowledgement.",
            overview.pending_messages_max,
        )?;
        to.gauge_in(
            "mezzenger_pending_limit",
            "Bytes of messages that may wait for an acknowledgement.",
            bytes,
            overview.pending_bytes_max as f64,
        )?;
        to.gauge_in(
            "mezzenger_oldest_pending_age",
            "How long ago the oldest unacknowledged message was accepted or recovered; 0 without any.",
            Some(&Unit::Seconds),
            overview.oldest_pending.map_or(0.0, |age| age.as_secs_f64()),
        )?;
        to.gauge(
            "mezzenger_delayed_messages",
            "Messages that wait for the time at which they are to be delivered.",
            metrics.delayed,
        )?;
        to.gauge(
            "mezzenger_retained_messages",
            "Names of which a message is retained.",
            metrics.retained,
        )?;
        to.gauge("mezzenger_dead_letters", "Dead letters.", metrics.dead_letters)?;
        to.counters(
            "mezzenger_dead_letters_made",
            "Messages that became dead letters, by the cause.",
            None,
            "cause",
            [
                ("used_up", metrics.dead_letters_used_up),
                ("rejected", metrics.dead_letters_rejected),
                ("expired", metrics.dead_letters_expired),
            ],
        )?;
        to.counter(
            "mezzenger_dead_letters_deferred",
            "Times that a message stayed in its group, as there was no room for a dead letter.",
            metrics.dead_letters_put_off,
        )
    }

    fn connections(&self, to: &mut Writer<'_>) -> fmt::Result {
        let (overview, metrics) = (&self.overview, &self.overview.metrics);
        to.gauge("mezzenger_connections", "Connections.", metrics.connections)?;
        to.counter(
            "mezzenger_connections_rejected",
            "Connections closed at once because there were too many.",
            metrics.connections_refused,
        )?;
        to.gauge("mezzenger_subscriptions", "Subscriptions.", metrics.subscriptions)?;
        to.gauge_in(
            "mezzenger_unsent",
            "Bytes that wait to be sent to subscribers.",
            Some(&Unit::Bytes),
            metrics.unsent_bytes as f64,
        )?;
        to.gauge(
            "mezzenger_held_publishers",
            "Publishers that are held back.",
            overview.traffic.publishers_held,
        )?;
        to.counter(
            "mezzenger_publisher_holds",
            "Times that publishers were held back, because a subscriber's queue was full or too much was unsent.",
            metrics.held_back,
        )?;
        to.counter_in(
            "mezzenger_publisher_held",
            "How long publishers were held back, added up.",
            Some(&Unit::Seconds),
            seconds(overview.traffic.held_back_ns),
        )?;
        to.gauge(
            "mezzenger_slow_subscribers",
            "Subscribers that do not keep up.",
            overview.slow_subscribers,
        )?;
        to.counter(
            "mezzenger_slow_subscribers_given_up",
            "Subscribers disconnected, or not waited for any longer, because they did not read.",
            metrics.slow_subscribers,
        )?;
        let mut slow = to.begin(
            "mezzenger_slow_subscriber_age",
            "For how long a subscriber has not kept up, of the first 100.",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for connection in &self.slow {
            let time = connection.slow.or(connection.without_credit).unwrap_or_default();
            let (id, address) = (connection.id.to_string(), connection.address.to_string());
            let client = connection.client.clone().unwrap_or_default();
            let labels = [("connection", id), ("address", address), ("client", client)];
            slow.encode_family(&labels)?.encode_gauge(&time.as_secs_f64())?;
        }
        Ok(())
    }

    fn groups(&self, to: &mut Writer<'_>) -> fmt::Result {
        let (all, groups) = (&self.overview.groups, &self.groups[..]);
        let metrics = &self.overview.metrics;
        to.gauge("mezzenger_groups", "Groups.", all.count)?;
        to.gauges(
            "mezzenger_group_members",
            "Members of a group.",
            "group",
            with_other(groups, all.members, |it| (&it.name, it.members)),
        )?;
        to.gauges(
            "mezzenger_group_waiting_messages",
            "Messages of a group that no member has: its lag.",
            "group",
            with_other(groups, all.unsettled.saturating_sub(all.in_flight), |it| {
                (&it.name, it.waiting)
            }),
        )?;
        to.gauges(
            "mezzenger_group_in_flight_messages",
            "Messages of a group that members have and did not settle.",
            "group",
            with_other(groups, all.in_flight, |it| (&it.name, it.in_flight)),
        )?;
        to.counters(
            "mezzenger_group_messages_redelivered",
            "Messages of a group that were handed over again.",
            None,
            "group",
            with_other(groups, all.redelivered, |it| (&it.name, it.redelivered)),
        )?;
        to.gauges(
            "mezzenger_group_dead_letters",
            "Dead letters of a group.",
            "group",
            with_other(groups, metrics.dead_letters, |it| (&it.name, it.dead_letters)),
        )?;
        to.counters(
            "mezzenger_group_messages_given_up",
            "Messages of a group that became dead letters.",
            None,
            "group",
            with_other(groups, metrics.dead_letters_made, |it| (&it.name, it.given_up)),
        )
    }

    fn names(&self, to: &mut Writer<'_>) -> fmt::Result {
        fn name(of: &NameOverview) -> &str {
            of.name.as_deref().unwrap_or(OTHER)
        }
        let (all, names) = (&self.overview.names, &self.names[..]);
        to.counters(
            "mezzenger_name_messages_accepted",
            "Messages accepted under a name.",
            None,
            "name",
            with_other(names, all.messages, |it| (name(it), it.messages)),
        )?;
        to.counters(
            "mezzenger_name_accepted",
            "Bytes of the frames with the messages accepted under a name.",
            Some(&Unit::Bytes),
            "name",
            with_other(names, all.bytes, |it| (name(it), it.bytes)),
        )
    }

    fn journal(&self, to: &mut Writer<'_>) -> fmt::Result {
        let Some(journal) = &self.overview.journal else { return Ok(()) };
        let bytes = Some(&Unit::Bytes);
        to.gauge(
            "mezzenger_journal_failed",
            "1 when the journal has failed, and messages with ack=1 are rejected.",
            u64::from(journal.failure.is_some()),
        )?;
        to.gauge_in(
            "mezzenger_journal_file",
            "Bytes of the journal's file.",
            bytes,
            journal.file_bytes as f64,
        )?;
        to.gauge_in(
            "mezzenger_journal_live",
            "Bytes of the journal's file that are needed, about.",
            bytes,
            journal.live_bytes as f64,
        )?;
        to.gauge(
            "mezzenger_journal_queued_batches",
            "Batches of records that wait to be written.",
            journal.queued,
        )?;
        to.counter(
            "mezzenger_journal_messages_appended",
            "Messages written to the journal.",
            journal.appended,
        )?;
        to.counter(
            "mezzenger_journal_messages_settled",
            "Settlements written to the journal.",
            journal.settled,
        )?;
        to.times(
            "mezzenger_journal_sync_duration",
            "How long syncs of the journal's file took.",
            &journal.syncs,
        )?;
        to.counters(
            "mezzenger_journal_compactions",
            "Compactions of the journal, by their outcome.",
            None,
            "outcome",
            [("done", journal.compactions), ("given_up", journal.compactions_given_up)],
        )
    }

    fn process(&self, to: &mut Writer<'_>) -> fmt::Result {
        let (process, bytes) = (&self.process, Some(&Unit::Bytes));
        let seconds = Some(&Unit::Seconds);
        to.counter_in("process_cpu", "Processor time used.", seconds, process.cpu_seconds)?;
        to.gauge_in(
            "process_resident_memory",
            "Memory in use.",
            bytes,
            process.resident_bytes as f64,
        )?;
        to.gauge_in(
            "process_virtual_memory",
            "Address space in use.",
            bytes,
            process.virtual_bytes as f64,
        )?;
        to.gauge("process_open_fds", "Open file descriptors.", process.open_fds)?;
        to.gauge("process_max_fds", "Limit on open file descriptors.", process.max_fds)?;
        to.gauge("process_threads", "Threads.", process.threads)?;
        to.gauge_in(
            "process_start_time",
            "Start of the process, in seconds since the Unix epoch.",
            seconds,
            process.start_unix_seconds,
        )
    }
}

//! Looks at `/ready` and at the edge's counters, again and again.

use std::time::{Duration, Instant};

use evenkeel_proto::wire::EdgeMetrics;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::probe::Probe;
use crate::recording::{ReadyAnswer, Sample, Seen};
use crate::status_line::{elapsed_ms, wall_ms};

/// A sample at the start and at each interval, until nobody takes them any more.
pub(crate) fn samples(probe: Probe, every: Duration, begun: Instant) -> mpsc::Receiver<Sample> {
    let (sender, samples) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (ready, edge) = tokio::join!(ready(&probe), edge(&probe));
            let sample = Sample {
                at_ms: wall_ms(),
                elapsed_ms: elapsed_ms(begun),
                ready,
                edge,
            };
            if sender.send(sample).await.is_err() {
                return;
            }
        }
    });
    samples
}

async fn ready(probe: &Probe) -> Seen<ReadyAnswer> {
    let probed = probe.ready().await.map(|(answer, _)| answer);
    Seen::of(probed, "no --origin was given").map(ReadyAnswer::new)
}

async fn edge(probe: &Probe) -> Seen<EdgeMetrics> {
    let probed = probe.metrics().await;
    Seen::of(probed, "no --edge was given").map(|counted| counted.metrics)
}

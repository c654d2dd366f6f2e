//! What happens to the service and the fleet.

use crate::wheel::Ms;

/// Something that begins or ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// The origin is gone; its streams break.
    OriginDown,
    /// The origin is back.
    OriginUp,
    /// The origin is replaced by a new one without a gap; every stream is closed.
    OriginRestart,
    /// The origin works at this share of its capacity.
    Capacity(f64),
    /// The store of spent tickets goes or comes back.
    Tickets(bool),
    /// Every edge is replaced, with a second without any.
    EdgesRestart,
    /// The edges are up again.
    EdgesUp,
    /// The edges know no origin, or know it again.
    Configured(bool),
    /// Something before the edges answers everything with 503, and this `Retry-After` in seconds; or no longer.
    Maintenance(Option<u16>),
    /// Half the fleet falls asleep.
    Doze,
    /// It wakes.
    Rouse,
}

/// One course of events.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name, in the tables.
    pub name: &'static str,
    /// What it is, in one line.
    pub what: &'static str,
    /// What changes, and when after the beginning of the fault.
    pub changes: Vec<(Ms, Change)>,
    /// When the fault is over.
    pub ends: Ms,
    /// The whole fleet starts within this time, with the service at its normal capacity; else it starts before, at
    /// leisure.
    pub rush: Option<Ms>,
    /// So many in a thousand sit behind a proxy that swallows streams.
    pub swallowed: u32,
    /// The devices' clocks are wrong by up to two hours, and `Retry-After` comes as a date.
    pub clocks_wrong: bool,
    /// The service says how long the fleet should take: in `retry:` and `Retry-After`, by what it knows of its load.
    pub helps: bool,
}

const SECOND: Ms = 1_000;
const MINUTE: Ms = 60 * SECOND;

fn scenario(
    name: &'static str,
    what: &'static str,
    changes: Vec<(Ms, Change)>,
    ends: Ms,
) -> Scenario {
    Scenario {
        name,
        what,
        changes,
        ends,
        rush: None,
        swallowed: 0,
        clocks_wrong: false,
        helps: false,
    }
}

fn outage(name: &'static str, what: &'static str, lasts: Ms) -> Scenario {
    let changes = vec![(0, Change::OriginDown), (lasts, Change::OriginUp)];
    scenario(name, what, changes, lasts)
}

/// Every scenario, without help from the service.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let flaps = 10;
    let flapping = (0..flaps)
        .flat_map(|n| {
            let at = n * 30 * SECOND;
            [
                (at, Change::OriginDown),
                (at + 20 * SECOND, Change::OriginUp),
            ]
        })
        .collect();
    vec![
        scenario(
            "restart",
            "the origin is replaced; every stream closes at once",
            vec![(0, Change::OriginRestart)],
            0,
        ),
        outage("outage-30s", "the origin is away for 30 s", 30 * SECOND),
        outage("outage-5m", "the origin is away for 5 min", 5 * MINUTE),
        outage("outage-2h", "the origin is away for 2 h", 120 * MINUTE),
        scenario(
            "brown-out",
            "streams close, and the origin has 30 % of its capacity for 5 min",
            vec![
                (0, Change::Capacity(0.3)),
                (0, Change::OriginRestart),
                (5 * MINUTE, Change::Capacity(1.0)),
            ],
            5 * MINUTE,
        ),
        scenario(
            "tickets",
            "Redis is away for 5 min: streams close, no ticket can be used, pulls work",
            vec![
                (0, Change::Tickets(false)),
                (0, Change::OriginRestart),
                (5 * MINUTE, Change::Tickets(true)),
            ],
            5 * MINUTE,
        ),
        scenario(
            "flapping",
            "the origin is away for 20 s and up for 10 s, ten times",
            flapping,
            (flaps - 1) * 30 * SECOND + 20 * SECOND,
        ),
        scenario(
            "edge-restart",
            "every edge is replaced within a second",
            vec![(0, Change::EdgesRestart), (SECOND, Change::EdgesUp)],
            SECOND,
        ),
        Scenario {
            rush: Some(MINUTE),
            ..scenario(
                "rush",
                "the whole fleet starts within a minute",
                Vec::new(),
                0,
            )
        },
        scenario(
            "unconfigured",
            "a bad deploy: the edges know no origin for 1 h",
            vec![
                (0, Change::Configured(false)),
                (0, Change::OriginRestart),
                (60 * MINUTE, Change::Configured(true)),
            ],
            60 * MINUTE,
        ),
        scenario(
            "maintenance",
            "a page before the edges says 503 and Retry-After: 120 to everybody for 5 min",
            vec![
                (0, Change::Maintenance(Some(120))),
                (0, Change::OriginRestart),
                (5 * MINUTE, Change::Maintenance(None)),
            ],
            5 * MINUTE,
        ),
        Scenario {
            clocks_wrong: true,
            ..outage(
                "clocks",
                "as outage-5m; clocks are wrong by up to 2 h, Retry-After is a date",
                5 * MINUTE,
            )
        },
        Scenario {
            swallowed: 50,
            ..outage(
                "proxies",
                "as outage-5m; 5 % sit behind a proxy that swallows streams",
                5 * MINUTE,
            )
        },
        scenario(
            "sleepers",
            "half the fleet sleeps for 30 min, then wakes within 30 s",
            vec![(0, Change::Doze), (30 * MINUTE, Change::Rouse)],
            30 * MINUTE,
        ),
    ]
}

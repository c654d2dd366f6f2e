//! What the policy promises for a fleet, on a small one: shares and ratios, not times of this machine.

use evenkeel_sim::figures::Figures;
use evenkeel_sim::policies::{self, Policy};
use evenkeel_sim::scenario::{self, Scenario};
use evenkeel_sim::world::Size;

const CLIENTS: u32 = 3_000;
/// Ticket, stream, page: with them alone the origin would be busy for so long (see [`Size::of`]).
const CAPACITY_ALONE_S: f64 = 150.0;

fn scenario(name: &str, helps: bool) -> Scenario {
    let all = scenario::all();
    let Some(scenario) = all.into_iter().find(|scenario| scenario.name == name) else {
        panic!("there is no scenario {name}");
    };
    Scenario { helps, ..scenario }
}

fn ours() -> Policy {
    policies::ALL[0]
}

fn run(policy: &Policy, name: &str, helps: bool) -> Figures {
    (policy.run)(&scenario(name, helps), Size::of(CLIENTS), 1)
}

#[test]
fn a_run_can_be_repeated() {
    let text = |seed| {
        let figures = (ours().run)(&scenario("flapping", true), Size::of(500), seed);
        format!("{figures:?}")
    };
    assert_eq!(text(7), text(7));
    assert_ne!(text(7), text(8));
}

#[test]
fn with_the_services_help_a_restart_and_an_outage_are_over_in_the_time_that_capacity_needs() {
    for name in ["restart", "outage-5m", "edge-restart"] {
        let figures = run(&ours(), name, true);
        let [half, most, _] = figures.back_s.map(|back| back.unwrap_or(f64::MAX));
        assert!(
            figures.peak <= 1.5,
            "{name}: {figures:?}",
            figures = figures.peak
        );
        assert!(
            most <= 1.3 * CAPACITY_ALONE_S + 30.0,
            "{name}: 99 % after {most} s"
        );
        assert!(
            half >= 0.3 * CAPACITY_ALONE_S,
            "{name}: faster than the origin can serve"
        );
    }
}

#[test]
fn the_service_never_falls_over_again_and_an_outage_is_left_in_peace() {
    for scenario in scenario::all() {
        for helps in [false, true] {
            let name = scenario.name;
            let figures = run(&ours(), name, helps);
            assert!(!figures.collapsed, "{name}, help: {helps}");
            assert!(
                figures.back_s[2].is_some(),
                "{name}, help: {helps}: somebody never came back"
            );
            assert!(
                figures.sent_per_minute <= 4.0,
                "{name}: {}",
                figures.sent_per_minute
            );
            assert_eq!(
                figures.limited, 0,
                "{name}: the origin's limit for one client"
            );
        }
    }
}

#[test]
fn a_small_fleet_does_not_pay_for_a_large_one() {
    let size = Size {
        clients: 100,
        capacity_per_s: 2_000.0,
        edges: 2,
    };
    for helps in [false, true] {
        let mut after_outage = 0.0;
        for seed in 1..=SMALL_FLEETS {
            let restart = (ours().run)(&scenario("restart", helps), size, seed);
            assert!(
                restart.back_s[0].is_some_and(|half| half <= 3.0),
                "seed {seed}: {:?}",
                restart.back_s
            );
            let outage = (ours().run)(&scenario("outage-5m", helps), size, seed);
            after_outage += outage.back_s[1].unwrap_or(f64::MAX);
        }
        // The last of a hundred is one client's luck; that of several fleets is not.
        let most = after_outage / SMALL_FLEETS as f64;
        assert!(most <= 60.0, "99 % after {most} s, help: {helps}");
    }
}

const SMALL_FLEETS: u64 = 30;

/// What is compared: the less the better.
fn figures(figures: &Figures) -> [f64; 10] {
    let never = |span: Option<f64>| span.unwrap_or(f64::MAX);
    [
        figures.sent_per_minute.max(figures.sent_first_minute),
        figures.sent_coming_back,
        figures.peak,
        never(figures.back_s[0]),
        never(figures.back_s[1]),
        never(figures.back_s[2]),
        never(figures.slowest_s),
        f64::from(u8::from(figures.collapsed)),
        figures.reopened,
        figures.age_mean_s,
    ]
}

#[test]
fn no_rival_is_at_least_as_good_in_everything() {
    for scenario in scenario::all() {
        for helps in [false, true] {
            let name = scenario.name;
            let our = figures(&run(&ours(), name, helps));
            let rivals = policies::ALL[1..].iter();
            for rival in rivals.filter(|rival| rival.listens || !helps) {
                let their = figures(&run(rival, name, helps));
                let pairs = || our.iter().zip(&their);
                let dominated = pairs().all(|(our, their)| their <= our)
                    && pairs().any(|(our, their)| their < our);
                assert!(
                    !dominated,
                    "{name}, help: {helps}: {} is better: {their:?}, not {our:?}",
                    rival.name
                );
            }
        }
    }
}

#[test]
fn rivals_do_knock_the_service_over_again() {
    // Else the scenarios would show nothing.
    for name in ["restart", "outage-5m"] {
        let fell = policies::ALL
            .iter()
            .filter(|policy| run(policy, name, false).collapsed);
        assert!(fell.count() >= 2, "{name}");
    }
}

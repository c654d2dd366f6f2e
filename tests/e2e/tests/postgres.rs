//! Postgres goes away under write load: nothing gets through, nothing is half applied, and everything
//! arrives once it is back.

use std::time::Duration;

use evenkeel::Cause;
use evenkeel_e2e::scenario::{Expect, Scenario};
use tokio::time::sleep;

const CAUSES: &[Cause] = &[Cause::Upstream5xx, Cause::CircuitOpen, Cause::Timeout];

const fn expect(fault: &'static str, total: bool) -> Expect {
    Expect {
        fault,
        causes: CAUSES,
        total,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_shut_down_and_started_again() {
    let fault = "Postgres: fast shutdown, restart";
    let begun = Scenario::on_a_service(2, expect(fault, true)).await;
    let Some((mut service, scenario)) = begun else {
        return;
    };
    service.postgres.shut_down_fast().await;
    sleep(Duration::from_secs(15)).await;
    let ready = service.ready(0).await;
    assert!(ready.contains(r#""readyCause":"database""#), "{ready}");
    service.postgres.restart().await;
    scenario.mended(&service.postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_killed_in_the_middle_of_pushes() {
    let fault = "Postgres: SIGKILL amid pushes, recovery, four times";
    let begun = Scenario::on_a_service(2, expect(fault, false)).await;
    let Some((mut service, scenario)) = begun else {
        return;
    };
    for pause in [400, 900, 1_500, 2_300] {
        service.postgres.kill().await;
        service.postgres.restart().await;
        sleep(Duration::from_millis(pause)).await;
    }
    scenario.mended(&service.postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_has_no_connection_left() {
    let fault = "Postgres: connections exhausted";
    // Now and then an origin is quicker to take one that has become free.
    let begun = Scenario::on_a_service(2, expect(fault, false)).await;
    let Some((service, scenario)) = begun else {
        return;
    };
    let mut taken = Vec::new();
    let until = tokio::time::Instant::now() + Duration::from_secs(12);
    // The origins' own connections are ended, and each that becomes free is taken at once.
    while tokio::time::Instant::now() < until {
        if let Some(first) = taken.first() {
            let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE application_name = 'evenkeel-stack'";
            let first: &tokio_postgres::Client = first;
            let _ = first.query(ended, &[]).await;
        }
        while let Ok(connection) = service.postgres.connect().await {
            taken.push(connection);
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(taken.len() > 20, "only {} taken", taken.len());
    drop(taken);
    scenario.mended(&service.postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_takes_no_writes_for_a_while() {
    let fault = "Postgres: read-only";
    let begun = Scenario::on_a_service(2, expect(fault, true)).await;
    let Some((service, scenario)) = begun else {
        return;
    };
    let set = async |how: &str| {
        let change = format!("ALTER SYSTEM SET default_transaction_read_only = {how}");
        service.postgres.sql(&change).await;
        service.postgres.sql("SELECT pg_reload_conf()").await;
    };
    set("on").await;
    sleep(Duration::from_secs(12)).await;
    let ready = service.ready(0).await;
    assert!(ready.contains("it takes no writes now"), "{ready}");
    set("off").await;
    scenario.mended(&service.postgres).await;
}

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const ALWAYS: Duration = Duration::MAX;

async fn after(time: Duration) {
    tokio::time::advance(time).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_stage_is_never_stuck() {
    let stage = Stage::new(Name::Accept);
    stage.enter().left();
    after(1000 * SECOND).await;
    assert_eq!(stage.look(ALWAYS), None);
    stage.found(None);
    assert_eq!(stage.look(ALWAYS), None);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_stage_and_its_recovery_are_each_reported_once() {
    let stage = Stage::new(Name::Record);
    after(100 * SECOND).await;
    let item = stage.enter();
    after(5 * SECOND).await;
    assert_eq!(stage.look(ALWAYS), None);
    after(SECOND).await;
    assert_eq!(stage.look(ALWAYS), Some(Change::Stuck(6 * SECOND)));
    assert_eq!(stage.look(ALWAYS), None);
    assert!(stage.is_stuck());
    item.left();
    assert_eq!(stage.look(ALWAYS), Some(Change::Recovered));
    assert_eq!(stage.look(ALWAYS), None);
}

#[tokio::test(start_paused = true)]
async fn a_moving_backlog_or_a_single_slow_item_raises_no_alarm() {
    let stage = Stage::new(Name::Announce);
    let _stays = stage.enter();
    for _ in 0..20 {
        after(4 * SECOND).await;
        stage.enter().left();
        stage.failed(&"the one that stays");
        stage.found(Some(100 * SECOND));
        assert_eq!(stage.look(ALWAYS), None);
    }
    after(6 * SECOND).await;
    assert!(matches!(stage.look(ALWAYS), Some(Change::Stuck(_))));
}

#[tokio::test(start_paused = true)]
async fn requests_that_fail_at_once_make_a_stage_stuck() {
    let stage = Stage::new(Name::Accept);
    for _ in 0..6 {
        stage.enter().failed(&"read-only");
        assert_eq!(stage.look(ALWAYS), None);
        after(SECOND).await;
    }
    assert!(matches!(stage.look(ALWAYS), Some(Change::Stuck(_))));
    assert_eq!(stage.snapshot().error.as_deref(), Some("read-only"));
    assert_eq!(stage.snapshot().failures, 6);
    stage.proved();
    assert_eq!(stage.look(ALWAYS), Some(Change::Recovered));
    assert_eq!(stage.snapshot().error, None);
}

#[tokio::test(start_paused = true)]
async fn a_stage_is_stuck_even_if_its_callers_disconnect() {
    let stage = Stage::new(Name::Accept);
    for _ in 0..3 {
        let item = stage.enter();
        after(2 * SECOND).await;
        drop(item);
    }
    assert!(matches!(stage.look(ALWAYS), Some(Change::Stuck(_))));

    let quick = Stage::new(Name::Accept);
    drop(quick.enter());
    after(6 * SECOND).await;
    assert_eq!(
        quick.look(ALWAYS),
        None,
        "it was gone before it could leave"
    );
}

#[tokio::test(start_paused = true)]
async fn a_single_failure_is_forgotten() {
    let stage = Stage::new(Name::Dispatch);
    stage.failed(&"not connected");
    after(6 * SECOND).await;
    assert!(matches!(stage.look(ALWAYS), Some(Change::Stuck(_))));
    after(RECENT).await;
    assert_eq!(stage.look(ALWAYS), Some(Change::Recovered));
}

#[tokio::test(start_paused = true)]
async fn a_stage_can_be_allowed_more_time() {
    let stage = Stage::new(Name::Authorize);
    stage.allow(10 * SECOND);
    let _item = stage.enter();
    after(9 * SECOND).await;
    assert_eq!(stage.look(ALWAYS), None);
    after(2 * SECOND).await;
    assert!(matches!(stage.look(ALWAYS), Some(Change::Stuck(_))));
}

#[tokio::test(start_paused = true)]
async fn time_in_which_the_process_was_suspended_does_not_count() {
    let stage = Stage::new(Name::Record);
    let item = stage.enter();
    after(600 * SECOND).await;
    assert_eq!(stage.look(SECOND), None);
    item.left();
    assert_eq!(stage.look(2 * SECOND), None);
}

#[tokio::test(start_paused = true)]
async fn overdue_rows_found_by_a_sweep_count_as_work() {
    let stage = Stage::new(Name::Dispatch);
    after(60 * SECOND).await;
    stage.found(Some(3 * SECOND));
    assert_eq!(stage.look(ALWAYS), None);
    after(3 * SECOND).await;
    assert_eq!(stage.look(ALWAYS), Some(Change::Stuck(6 * SECOND)));
    stage.found(None);
    assert_eq!(stage.look(ALWAYS), Some(Change::Recovered));
}

#[tokio::test(start_paused = true)]
async fn the_registry_reports_every_stage_by_name() {
    let stages = Stages::new(vec![Stage::new(Name::Accept), Stage::new(Name::Erase)]);
    let accept = stages.get(Name::Accept).expect("registered");
    accept.failed(&"full disk");
    assert!(stages.get(Name::Record).is_none());
    let json = stages.to_json();
    assert_eq!(json["accept"]["error"], "full disk");
    assert_eq!(json["erase"]["in_progress"], 0);
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_that_of_the_last_seconds() {
    let stage = Stage::new(Name::Accept);
    for _ in 0..20 {
        stage.enter_many(50).left();
        after(SECOND).await;
        stage.look(ALWAYS);
    }
    let rate = stage.snapshot().per_second;
    assert!((49.0..=51.0).contains(&rate), "{rate}");
    for _ in 0..20 {
        after(SECOND).await;
        stage.look(ALWAYS);
    }
    assert!(stage.snapshot().per_second.abs() < f64::EPSILON);
}

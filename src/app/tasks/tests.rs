//! A task that dies is a reason to end the process.

use super::*;

async fn boom() {
    std::future::ready(()).await;
    panic!("as the test wants it");
}

#[tokio::test]
async fn a_panic_in_any_task_ends_the_process() {
    type Start = fn(&Tasks);
    let ways: [(&str, Start); 4] = [
        ("taking", |tasks| tasks.take("taking", boom())),
        ("keeping", |tasks| tasks.keep("keeping", boom())),
        ("watch", |tasks| {
            tasks.watch(async {
                boom().await;
                None
            });
        }),
        ("vital", |tasks| {
            let vital = Vital::new("vital");
            tasks.watch_vital(vital.clone(), CancellationToken::new());
            tokio::spawn(vital.watch(boom()));
        }),
    ];
    for (name, start) in ways {
        let mut tasks = Tasks::new();
        start(&tasks);
        let failure = tasks.failure().await;
        assert!(
            matches!(failure, Some(AppError::TaskEnded(it)) if it == name),
            "{name}: {failure:?}"
        );
    }
}

#[tokio::test]
async fn watching_a_running_task_ends_with_the_process() {
    let tasks = Tasks::new();
    let stop = CancellationToken::new();
    tasks.watch_vital(Vital::new("lives"), stop.clone());
    stop.cancel();
    tasks.background_ended().await;
}

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(10);

/// A clock, and lanes of tries that are named by their client.
struct World {
    shares: Shares<&'static str>,
    now: Instant,
    running: Vec<(Ticket, &'static str, Instant)>,
}

fn client(name: &str) -> Whose {
    Some(ClientName::parse(name).unwrap())
}

impl World {
    fn new(permits: usize) -> Self {
        let now = Instant::now();
        let limits = Limits {
            permits,
            room: 100,
            horizon: TIMEOUT / 2,
        };
        Self {
            shares: Shares::new(limits, now),
            now,
            running: Vec::new(),
        }
    }

    fn add(&mut self, name: &'static str, weight: u32, tries: usize) {
        for _ in 0..tries {
            self.shares.add(client(name), weight, (0, name), self.now);
        }
    }

    /// Starts the tries that may start; returns their clients.
    fn start(&mut self) -> Vec<&'static str> {
        let mut started = Vec::new();
        while let Some((ticket, name)) = self.shares.next(self.now) {
            self.shares.asked(ticket, self.now);
            self.running.push((ticket, name, self.now));
            started.push(name);
        }
        started
    }

    /// Ends the tries of a client that have run this long.
    fn end(&mut self, name: &str, after: Duration) {
        let now = self.now;
        let ends = |it: &(Ticket, &str, Instant)| it.1 == name && now - it.2 >= after;
        for (ticket, ..) in self.running.extract_if(.., |it| ends(it)) {
            self.shares.ended(ticket, now);
        }
    }

    fn count(&self, name: &str) -> usize {
        self.running.iter().filter(|it| it.1 == name).count()
    }
}

#[test]
fn a_single_client_gets_all_permits_and_is_never_postponed() {
    let mut world = World::new(8);
    for _ in 0..100 {
        world.add("a", 1, 8);
        assert_eq!(world.start().len(), 8);
        world.add("a", 1, 90);
        world.now += Duration::from_millis(100);
        assert_eq!(world.shares.beyond_the_horizon(0, world.now), []);
        world.end("a", Duration::ZERO);
        while !world.start().is_empty() {
            world.now += Duration::from_millis(1);
            world.end("a", Duration::ZERO);
        }
    }
}

#[test]
fn a_released_permit_goes_to_the_client_with_the_fewest_for_its_weight() {
    let mut world = World::new(8);
    world.add("a", 1, 100);
    world.start();
    world.add("b", 3, 100);
    for _ in 0..4 {
        world.now += TIMEOUT;
        world.end("a", TIMEOUT);
        world.end("b", TIMEOUT);
        world.start();
    }
    assert_eq!((world.count("a"), world.count("b")), (2, 6));
}

#[test]
fn with_one_permit_the_client_with_slow_calls_waits_for_the_one_with_fast_calls() {
    let mut world = World::new(1);
    world.add("slow", 1, 100);
    assert_eq!(world.start(), ["slow"]);
    world.now += SECOND;
    world.add("fast", 1, 100);
    world.now += TIMEOUT - SECOND;
    world.end("slow", TIMEOUT);
    let mut started = 0;
    loop {
        let next = world.start();
        if next == ["slow"] {
            break;
        }
        assert_eq!(next, ["fast"]);
        started += 1;
        world.now += Duration::from_millis(100);
        world.end("fast", Duration::ZERO);
    }
    // The nine seconds in which it waited.
    assert!((89..=91).contains(&started), "{started}");
}

#[test]
fn more_clients_than_permits_take_turns() {
    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
    let mut world = World::new(2);
    for name in NAMES {
        world.add(name, 1, 100);
    }
    let mut started: HashMap<&str, usize> = HashMap::new();
    for _ in 0..50 {
        for name in world.start() {
            *started.entry(name).or_default() += 1;
        }
        world.now += SECOND;
        for name in NAMES {
            world.end(name, SECOND);
        }
    }
    assert!(NAMES.iter().all(|name| started[name] == 20), "{started:?}");
}

/// As long as calls are short this is unknown; then tries are postponed to make room for others.
#[test]
fn tries_at_a_silent_processor_are_postponed_and_come_back_in_turn() {
    let mut world = World::new(4);
    world.add("a", 1, 104);
    world.start();
    assert_eq!(world.shares.beyond_the_horizon(10_000, world.now), []);
    world.now += SECOND;
    let first = world.shares.beyond_the_horizon(0, world.now);
    // Four permits and calls of a second so far: 20 start within the horizon.
    assert_eq!((first.len(), world.shares.waiting()), (80, 20));
    let delays: Vec<Duration> = first.iter().map(|(_, it)| it.delay).collect();
    assert!(delays.is_sorted(), "{delays:?}");
    assert_eq!(delays[0].as_millis(), 5250);
    assert_eq!(delays[79], SECOND * 25);

    // Many more: each comes back within a minute, and not all of them at once.
    world.now += TIMEOUT - SECOND;
    let mut delays = Vec::new();
    for _ in 0..1000 {
        world.add("a", 1, 50);
        let postponed = world.shares.beyond_the_horizon(0, world.now);
        delays.extend(postponed.into_iter().map(|(_, it)| it.delay));
    }
    assert!(delays.len() > 49_000);
    let longest = delays.iter().max().unwrap();
    assert!(
        *longest <= SECOND * 60 && *longest > SECOND * 55,
        "{longest:?}"
    );
    assert!(delays.iter().min().unwrap() >= &(TIMEOUT / 2));
}

#[test]
fn postponed_tries_start_before_new_ones() {
    let mut world = World::new(1);
    world.add("a", 1, 1);
    world.start();
    for (times, name) in [(0, "fresh"), (1, "once"), (2, "twice"), (1, "once more")] {
        world.shares.add(client("a"), 1, (times, name), world.now);
    }
    let mut order = Vec::new();
    for _ in 0..4 {
        world.now += SECOND;
        let (ticket, ..) = world.running.pop().unwrap();
        world.shares.ended(ticket, world.now);
        order.extend(world.start());
    }
    assert_eq!(order, ["twice", "once", "once more", "fresh"]);
}

/// The tries of one flooding client never fill the whole queue, however long the calls of others take.
#[test]
fn tries_in_a_long_queue_are_postponed_even_if_calls_are_fast() {
    let mut world = World::new(4);
    world.add("a", 1, 104);
    world.start();
    world.now += SECOND / 10;
    world.end("a", Duration::ZERO);
    world.start();
    assert_eq!(world.shares.beyond_the_horizon(50, world.now), []);
    // 40 a second: 10,000 would hold up everything behind them for four minutes.
    let postponed = world.shares.beyond_the_horizon(10_000, world.now);
    assert_eq!((postponed.len(), world.shares.waiting()), (46, 50));
}

/// While the database is down tries wait, and calls do not.
#[test]
fn waiting_for_the_database_does_not_make_a_call_slow() {
    let mut world = World::new(4);
    world.add("a", 1, 104);
    let started: Vec<Ticket> =
        std::iter::from_fn(|| world.shares.next(world.now).map(|it| it.0)).collect();
    for ticket in &started {
        world.shares.asked(*ticket, world.now);
        world.shares.answered(*ticket, world.now + SECOND / 100);
    }
    world.now += TIMEOUT * 10;
    assert_eq!(world.shares.beyond_the_horizon(0, world.now), []);
}

#[test]
fn a_client_with_fast_calls_is_not_postponed_next_to_one_with_slow_calls() {
    let mut world = World::new(4);
    world.add("slow", 1, 60);
    world.add("fast", 1, 40);
    for _ in 0..20 {
        world.start();
        world.now += SECOND / 20;
        world.end("fast", Duration::ZERO);
    }
    world.add("fast", 1, 40);
    world.start();
    let postponed = world.shares.beyond_the_horizon(100, world.now);
    assert!(postponed.len() > 30, "{}", postponed.len());
    assert!(postponed.iter().all(|(_, it)| it.item == "slow"));
}

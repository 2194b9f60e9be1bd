//! The nodes: which one is asked, and which one next when it cannot carry a request out.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio_util::bytes::Bytes;

use super::answer::{self, Row, Rows};
use super::error::Trouble;
use super::http::{self, Answer, Kind, ask};
use super::lock;
use super::statement::Body;
use crate::limits;
use crate::store::damage::Damage;
use crate::store::engine::sql::Statement;
use crate::store::error::Error;
use crate::store::open::rqlite::RqlitePlace;

type Result<T> = std::result::Result<T, Trouble>;

pub(super) struct Cluster {
    pub(super) place: RqlitePlace,
    /// Made when it is needed first: a certificate may not be there yet.
    client: Mutex<Option<Client>>,
    /// The node that is asked first, of those of the place.
    current: AtomicUsize,
    search: Mutex<LeaderSearch>,
}

/// A search for the leader: any node carries a request out, but the others hand it on.
#[derive(Default)]
struct LeaderSearch {
    /// Who has carried out the last request, as it is called by the one that was asked.
    served_by: String,
    /// How many nodes were tried that have handed on to this one.
    tried: usize,
}

impl Cluster {
    pub(super) fn new(place: RqlitePlace) -> Cluster {
        Cluster { place, client: Mutex::default(), current: AtomicUsize::new(0), search: Mutex::default() }
    }

    /// Reads from one node after the other, until one can. `take` makes something of the rows.
    pub(super) async fn read<T>(
        &self,
        kind: Kind,
        body: Body,
        mut take: impl FnMut(Vec<Rows<'_>>) -> Result<T>,
    ) -> Result<T> {
        let (count, body) = (body.count(), Bytes::from(body.into_json()));
        let mut tries = Tries::new(self);
        loop {
            let index = self.current();
            let answered = self.ask(index, kind, body.clone()).await;
            let taken = answered.and_then(|Answer { body, .. }| take(answer::rows(&body, count)?));
            match taken {
                Err(trouble) if trouble.is_passing() => tries.fail(index, trouble).await?,
                taken => return taken,
            }
        }
    }

    /// Reads the one row that a statement without arguments gives.
    pub(super) async fn read_row<T>(
        &self,
        kind: Kind,
        text: &str,
        mut take: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        let body = Body::of([Statement { text: text.to_owned(), values: Vec::new() }]);
        self.read(kind, body, |rows| {
            let rows = rows.first().ok_or_else(|| Damage::new("an answer is missing"))?;
            take(&rows.only()?)
        })
        .await
    }

    /// Writes: sends a request to one node after the other, until one may have carried it out.
    pub(super) async fn write(&self, body: &Bytes, count: usize) -> Result<()> {
        let mut tries = Tries::new(self);
        loop {
            let index = self.current();
            match self.write_once(index, body, count).await {
                Err(trouble @ (Trouble::Unsent(_) | Trouble::NoLeader)) => tries.fail(index, trouble).await?,
                Err(trouble @ Trouble::Lost(_)) => {
                    self.leave(index);
                    return Err(trouble);
                }
                outcome => return outcome,
            }
        }
    }

    /// Sends a request that may have been carried out again, until it is known what became of it.
    pub(super) async fn resend(&self, body: &Bytes, count: usize) -> Result<()> {
        let mut tries =
            Tries { deadline: Instant::now() + limits::RQLITE_LOOK_UP_TIMEOUT, ..Tries::new(self) };
        loop {
            let index = self.current();
            match self.write_once(index, body, count).await {
                Err(trouble) if trouble.is_passing() => tries.fail_patiently(index, trouble).await?,
                outcome => return outcome,
            }
        }
    }

    async fn write_once(&self, index: usize, body: &Bytes, count: usize) -> Result<()> {
        let answer = self.ask(index, Kind::Write, body.clone()).await?;
        answer::rows(&answer.body, count).map(drop)
    }

    async fn ask(&self, index: usize, kind: Kind, body: Bytes) -> Result<Answer> {
        let client = self.client()?;
        let url = self.place.url(&self.place.nodes()[index]);
        let answer = ask(&client, &self.place, &url, kind, body).await?;
        // A write may have been carried out whatever its answer looks like.
        if kind != Kind::Write {
            http::check_is_rqlite(&self.place, &answer.body)?;
        }
        if let Some(server) = &answer.served_by {
            self.note_server(index, server);
        }
        Ok(answer)
    }

    /// The connections to the nodes.
    ///
    /// # Errors
    /// What is wrong with a certificate.
    pub(super) fn client(&self) -> std::result::Result<Client, Error> {
        let mut client = lock(&self.client);
        match &*client {
            Some(client) => Ok(client.clone()),
            None => Ok(client.insert(http::client(&self.place)?).clone()),
        }
    }

    /// The node that is asked first.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::SeqCst)
    }

    /// Asks the next node first, unless that is done already.
    fn leave(&self, index: usize) {
        let next = (index + 1) % self.place.nodes().len();
        // Another request may have left it.
        let _ = self.current.compare_exchange(index, next, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Goes on to the next node while the one that was asked hands requests on, but not round and round: a leader that is
    /// called otherwise than in the connection string, or does not stand there, is not recognised.
    fn note_server(&self, index: usize, served_by: &str) {
        let node = &self.place.nodes()[index];
        let mut search = lock(&self.search);
        if search.served_by != served_by {
            *search = LeaderSearch { served_by: served_by.to_owned(), tried: 0 };
        }
        let address = served_by.rsplit("://").next().unwrap_or_default();
        if address != node.to_string() && search.tried + 1 < self.place.nodes().len() {
            search.tried += 1;
            self.leave(index);
        }
    }
}

/// The tries of one request.
struct Tries<'a> {
    cluster: &'a Cluster,
    deadline: Instant,
    pause: Duration,
    /// How many nodes were asked since the last pause.
    asked: usize,
    /// Whether none of them was there.
    nobody_is_there: bool,
    /// Whether one has said that there is no leader, which tells more than that others are not there.
    has_no_leader: bool,
}

impl<'a> Tries<'a> {
    fn new(cluster: &'a Cluster) -> Tries<'a> {
        Tries {
            cluster,
            deadline: Instant::now() + limits::RQLITE_PATIENCE,
            pause: limits::RQLITE_PAUSE_MIN,
            asked: 0,
            nobody_is_there: true,
            has_no_leader: false,
        }
    }

    /// Goes on to the next node. Once all were asked there is a pause, in which they may choose a leader.
    ///
    /// # Errors
    /// The trouble, when none of them is there, or when they have had enough time.
    async fn fail(&mut self, index: usize, trouble: Trouble) -> Result<()> {
        self.nobody_is_there &= matches!(trouble, Trouble::Unsent(_));
        let is_round = self.asked + 1 >= self.cluster.place.nodes().len();
        if is_round && self.nobody_is_there {
            self.cluster.leave(index);
            return Err(trouble);
        }
        self.fail_patiently(index, trouble).await
    }

    /// As [`fail`](Tries::fail), and waits for nodes of which none is there.
    async fn fail_patiently(&mut self, index: usize, trouble: Trouble) -> Result<()> {
        self.cluster.leave(index);
        self.asked += 1;
        self.has_no_leader |= matches!(trouble, Trouble::NoLeader);
        if Instant::now() + self.pause > self.deadline {
            let is_of_others = self.has_no_leader && matches!(trouble, Trouble::Unsent(_));
            return Err(if is_of_others { Trouble::NoLeader } else { trouble });
        }
        if self.asked >= self.cluster.place.nodes().len() {
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(limits::RQLITE_PAUSE_MAX);
            (self.asked, self.nobody_is_there) = (0, true);
        }
        Ok(())
    }
}

//! Listens for what other processes commit.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::Core;
use super::session::{Notifications, Session, in_time};
use crate::limits;
use crate::store::error::Result;

/// The connection that listens, while somebody wants to know.
#[derive(Default)]
pub(super) struct Listener(Mutex<Option<Listening>>);

struct Listening {
    /// The connection ends with it.
    session: Session,
    notifications: Notifications,
}

impl Listener {
    /// Returns when another process may have committed since this returned last.
    pub(super) async fn changed(&self, core: &Arc<Core>) -> Result<()> {
        let mut listening = self.0.lock().await;
        #[cfg(feature = "planted-defects")]
        if let Some(Listening { session, .. }) = &*listening
            && super::planted::is_planted("late_listen")
        {
            session.send(&format!("listen \"{}\"", session.channel));
        }
        let Some(Listening { notifications, .. }) = &mut *listening else {
            return match listen(core).await {
                Ok(begun) => {
                    // What was committed before is not known, so it is to be looked for now.
                    *listening = Some(begun).filter(|begun| !begun.session.is_too_early());
                    Ok(())
                }
                Err(error) => {
                    tokio::time::sleep(limits::POSTGRES_RECONNECT_PAUSE).await;
                    Err(error)
                }
            };
        };
        let wait = async {
            loop {
                let sender = notifications.recv().await;
                // Of what this process commits, those who follow have heard already.
                if sender.is_none_or(|sender| !core.is_writer(sender)) {
                    return sender;
                }
            }
        };
        match tokio::time::timeout(limits::POSTGRES_LOOK_INTERVAL, wait).await {
            Ok(Some(_)) => while notifications.try_recv().is_ok() {},
            // The connection was lost.
            Ok(None) => *listening = None,
            // A notification is a hint, and may be lost on its way.
            Err(_) => {}
        }
        Ok(())
    }

    pub(super) async fn close(&self) {
        *self.0.lock().await = None;
    }
}

async fn listen(core: &Core) -> Result<Listening> {
    let (session, notifications) = core.sessions.connect().await?;
    #[cfg(feature = "planted-defects")]
    if super::planted::is_planted("late_listen") {
        return Ok(Listening { session, notifications });
    }
    let text = format!("listen \"{}\"", session.channel);
    let listened = in_time(async { Ok(session.client.batch_execute(&text).await?) }).await;
    listened.map_err(|trouble: super::error::Trouble| trouble.describe(&core.sessions.place))?;
    Ok(Listening { session, notifications })
}

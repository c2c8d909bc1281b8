//! The explorer: scenarios that nobody wrote, on the same executor, judged by the same contract.
//!
//! ```text
//! source ──> batches ──> workers ──> what came of them ──> campaign ──> news ──> ledger ──> store
//!    ^                                                        │
//!    └── scenarios that reached something new ────────────────┘
//! ```
//!
//! - [`order`]: what is to be explored, and how
//! - [`source`]: which scenario is next
//! - [`campaign`]: gives batches to workers, has findings shrunk, tells the [`news`]
//! - [`ledger`]: all that is known of a campaign, from its news
//! - [`store`]: the ledger on the disk, whole at any time
//! - [`guests`]: the same in virtual machines, whose news come through the wire
pub mod campaign;
pub mod finding;
pub mod guests;
pub mod ledger;
pub mod news;
pub mod order;
pub mod source;
pub mod store;
pub mod view;

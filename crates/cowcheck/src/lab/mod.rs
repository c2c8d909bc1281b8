//! The mutation lab: which check kills which bug.
//!
//! - [`trial`]: what is booted; [`in_place`]: the module that stock kernels get
//! - [`run`]: first the kernels without a bug, then the mutants; [`order`]: which check comes first
//! - [`seen`]: what checks saw on a kernel; [`judge`]: who killed what, by that alone
//! - [`row`], [`matrix`], [`cover`]: the kill matrix as a value
//! - [`store`]: results as they come, and what is known of them the next time
//! - [`explore`]: the same by exploration, without any check; [`explored`]: what that comes to
//! - [`peer`]: the kernel's own cow.c beside us
//! - [`text()`], [`markdown()`], [`html()`], [`view`]: what a person sees

pub mod cover;
pub mod explore;
pub mod explored;
mod html;
pub mod in_place;
pub mod judge;
mod markdown;
pub mod matrix;
pub mod order;
pub mod peer;
pub mod row;
pub mod run;
pub mod seen;
pub mod store;
mod text;
pub mod trial;
pub mod view;

pub use html::html;
pub use markdown::markdown;
pub use text::text;

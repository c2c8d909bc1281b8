//! Hostile texts: bounded time and memory.

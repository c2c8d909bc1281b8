//! The program as its users meet it: run as a process, on this kernel, judged by what it prints, what
//! it exits with and what it leaves behind.
//!
//! Tests that need root, or something else of the machine, say so on standard error and pass where
//! it is missing. `COWCHECK=FILE` tests that program instead of the one just built.

mod alone;
mod collapse;
mod explore;
mod lab;
mod lab_explore;
mod machine;
mod matrix;
mod outputs;
mod program;
mod robust;
mod seccomp;
mod self_test;
mod text;
mod vm;

//! throwaway
use cowcheck::report::{Sink,event::*};
use cowcheck::run::*;
struct P(Start);
impl Sink for P { fn event(&mut self, e: Event<'_>) -> std::io::Result<()> { match e { Event::Outcome(o)=> { let p=&self.0.plan[o.index]; println!("{:12} {:8} {} {} {:?}", o.verdict.kind().word(), o.micros, p.id, o.verdict.reason(), o.notes); if std::env::var("V").is_ok() {if let Some(t)=&o.explanation{println!("{t}")}}}, Event::End{micros,..}=>println!("end {micros}"), _=>{}} Ok(()) } }
fn main(){
  let args: Vec<String> = std::env::args().collect();
  if args.get(1).map(|s|s.as_str())==Some("__worker") { cowcheck::executor::worker::main().unwrap(); return; }
  let sizes = cowcheck::suite::Sizes{page:4096,pmd:2<<20,thp:(14..=21).map(|s|1u64<<s).collect(),hugetlb:vec![2<<20,1<<30]};
  let pat = args.get(1).cloned().unwrap_or("*".into());
  let fault = std::env::var("F").ok().map(|f| <cowcheck::executor::fault::Fault as clap::ValueEnum>::from_str(&f,true).unwrap());
  let entries: Vec<Entry> = cowcheck::suite::catalogue(&sizes).into_iter().filter(|c| cowcheck::suite::glob::matches(&pat,&c.id)).map(|check| { let m=check.scenario.memory; let hugetlb = m.kind.is_hugetlb().then_some((m.size, 2)); let gup = check.tags.contains(&"gup"); Entry{check, unmet: gup.then(||("gup".into(),"".into())), hugetlb}}).collect();
  let opt = Options{repeat: std::env::var("R").ok().map(|r|r.parse().unwrap()).unwrap_or(1),jobs:std::env::var("J").ok().map(|r|r.parse().unwrap()).unwrap_or(2),limit_ms:5000,fail_fast:false,save_trace:None,fault,pin_device:None};
  let start = Start{kernel:"".into(),machine:"".into(),args:vec![],pmd_size:2<<20,thp_sizes:sizes.thp.clone(),hugetlb_sizes:vec![],plan: plan(&entries,opt.repeat), };
  let mut sink=P(start.clone());
  let free = [(2u64<<20,8u64),(1<<30,4)].into_iter().collect();
  let s = run(&entries,&start,&opt,&free,None,&std::sync::atomic::AtomicBool::new(false),&mut sink).unwrap();
  println!("{s:?}");
}

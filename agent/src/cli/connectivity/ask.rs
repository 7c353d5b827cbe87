//! `weft connectivity ask`.

use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::connectivity::{Answer, MESSAGE_BYTES, Question, Told};
use crate::text;

use super::error::ConnectivityError;
use super::{AskArgs, agent, api_server, large, name, rate, steady, who};

pub(super) fn run(args: &AskArgs) -> Result<ExitCode, CliError> {
    let started = Instant::now();
    let questions = args.questions.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
    let answers: Vec<Answer> = thread::scope(|scope| {
        let asked: Vec<_> = questions.iter().map(|question| scope.spawn(move || answer(question, started))).collect();
        let told =
            asked.into_iter().map(|one| one.join().unwrap_or_else(|_| Answer::Failed("it broke down".to_owned())));
        told.collect()
    });
    let told = Told { addresses: args.address.clone(), answers };
    let json = serde_json::to_string(&told).map_err(CliError::Decode)?;
    if let Some(file) = &args.result {
        if json.len() > MESSAGE_BYTES {
            Err(ConnectivityError::TooLong { bytes: json.len(), room: MESSAGE_BYTES })?;
        }
        fs::write(file, &json).map_err(ConnectivityError::io("write", file.display()))?;
    }
    Output::line(&json)?;
    let failed = told.answers.iter().any(|answer| matches!(answer, Answer::Failed(_)));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn parse(text: &str) -> Result<Question, ConnectivityError> {
    serde_json::from_str(text).map_err(|source| ConnectivityError::Question { text: text.to_owned(), source })
}

fn answer(question: &Question, started: Instant) -> Answer {
    let answer = match question {
        Question::Who(who) => who::ask(who, started).map(Answer::Who),
        Question::Echo(echo) => large::echo(echo).map(Answer::Echo),
        Question::Transfer(transfer) => large::transfer(transfer).map(Answer::Transfer),
        Question::Stream(stream) => steady::talk(stream).map(Answer::Stream),
        Question::Rate(rate) => rate::measure(rate).map(Answer::Rate),
        Question::Finish(finish) => steady::finish(finish).map(|()| Answer::Finish),
        Question::Resolve(resolve) => name::resolve(resolve).map(Answer::Resolve),
        Question::Api(api) => api_server::ask(api).map(Answer::Api),
        Question::Agent(question) => agent::ask(question).map(Answer::Agent),
    };
    answer.unwrap_or_else(|error| Answer::Failed(text::chain(&error)))
}

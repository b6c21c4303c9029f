//! Makes a customer, or takes over the provisional one that usage made before.

use plimsoll_core::{command::CustomerCommand, ids::CustomerId};
use plimsoll_store::{
    Expect, resource,
    subject::{self, SubjectRow},
};

use crate::{
    catalogue::index::Versioned,
    ops::{
        Context, Ops,
        change::{Changed, Turn},
        control::{CHANGE_ATTEMPTS, concurrent_change},
        customer::{CreateCustomer, Customer, check_subjects},
        fields,
        plan::{Answer, CustomerPlan},
        problem::{Problem, ProblemCode},
        subjects::{Holders, Reservation, subject_in_use},
    },
};

/// How often a request looks again while subjects that it asks for change hands.
const SUBJECT_ATTEMPTS: usize = 100;

impl Ops {
    /// Makes a customer. If a provisional customer has one of its subjects, it becomes that one.
    pub async fn create_customer(
        &self,
        context: &Context,
        request: CreateCustomer,
    ) -> Result<Customer, Problem> {
        self.once(context, async {
            fields::key("key", &request.key)?;
            let name = request.name.as_ref().unwrap_or(&request.key);
            fields::name("name", name)?;
            check_subjects(request.subjects())?;
            fields::metadata(&request.metadata)?;
            let mut refused = 0;
            for _ in 0..SUBJECT_ATTEMPTS {
                let turn = self.turn(&request.key).await;
                let Some(holders) = self.holders(context, request.subjects()).await? else {
                    continue;
                };
                if let Some(customer) = self.try_create(context, turn, &request, holders).await? {
                    return Ok(customer);
                }
                refused += 1;
                if refused == CHANGE_ATTEMPTS {
                    break;
                }
            }
            Err(concurrent_change())
        })
        .await
    }

    /// Nothing, if something was changed meanwhile.
    async fn try_create(
        &self,
        context: &Context,
        turn: Turn,
        request: &CreateCustomer,
        holders: Holders,
    ) -> Result<Option<Customer>, Problem> {
        let before = self.taken_over(context, request, &holders).await?;
        self.check_key(context, request, before.as_ref().map(|it| it.document.id)).await?;
        let customer = match &before {
            Some(before) => taken(&before.document, request, context),
            None => fresh(self.mint(CustomerId::from_parts), request, context),
        };
        let id = customer.id;
        let catalogue = &self.inner.catalogue;
        let environment = context.environment();
        let Some(reservation) = Reservation::of(catalogue, environment, id, &holders.free) else {
            return Ok(None);
        };
        let mut draft = self.draft(context);
        let mut commands = Vec::new();
        if let Some(Versioned { version, document: before }) = &before {
            draft.update(*version, &customer, customer.key.as_deref());
            draft.audit("customer.take_over", Some(before), Some(&customer));
        } else {
            draft.insert(&customer, customer.key.as_deref());
            draft.audit("customer.create", None, Some(&customer));
            commands.push(CustomerCommand::Create { customer: id });
        }
        let left = holders.left;
        for (subject, of) in &left {
            let delete = subject::delete(environment, subject, *of);
            draft.statements.push(delete.expecting(Expect::RowsAffected(1)));
        }
        let moved = left.into_iter().map(|(subject, _)| subject);
        let moved: Vec<String> = moved.collect();
        let row = |subject: &String| {
            let subject = subject.clone();
            SubjectRow { environment, subject, customer: id }
        };
        let rows = holders.free.iter().chain(&moved).map(row).collect();
        draft.statements.extend(subject::insert(rows));
        let plan = CustomerPlan {
            turn,
            draft,
            customer: id,
            commands,
            documents: vec![(id.to_string(), customer.to_json().into_bytes())],
            opening: None,
            effects: vec![Box::new(move |ops| {
                reservation.confirm();
                for subject in &moved {
                    ops.catalogue.subjects().put(environment, subject, id);
                }
            })],
            answer: Answer::created(customer),
        };
        match self.change(context, plan).await? {
            Changed::Made(customer) => Ok(Some(customer)),
            Changed::Refused { statement, taken: true }
                if statement == resource::INSERT || statement == resource::UPDATE =>
            {
                Err(key_in_use(&request.key, ""))
            }
            Changed::Refused { .. } => Ok(None),
        }
    }

    /// The provisional customer that has some of the subjects. Any other holder is refused.
    async fn taken_over(
        &self,
        context: &Context,
        request: &CreateCustomer,
        holders: &Holders,
    ) -> Result<Option<Versioned<Customer>>, Problem> {
        let mut found: Option<Versioned<Customer>> = None;
        for (position, id) in &holders.held {
            if found.as_ref().is_some_and(|it| it.document.id == *id) {
                continue;
            }
            let subject = &request.subjects()[*position];
            let refuse = |holder: &str| Err(subject_in_use(*position, subject, holder));
            match self.find_customer(context, &id.to_string()).await? {
                Some(it) if !it.document.provisional => {
                    let name = it.document.key.unwrap_or_else(|| it.document.id.to_string());
                    return refuse(&format!("the customer {name:?}"));
                }
                Some(_) if found.is_some() => {
                    return refuse("another provisional customer than the subject before it");
                }
                Some(it) => found = Some(it),
                None => return refuse("a customer that is being deleted"),
            }
        }
        Ok(found)
    }

    /// Refuses a key that another customer has. The commit checks it again.
    async fn check_key(
        &self,
        context: &Context,
        request: &CreateCustomer,
        becomes: Option<CustomerId>,
    ) -> Result<(), Problem> {
        match self.find_customer(context, &request.key).await? {
            Some(other) if Some(other.document.id) != becomes => {
                let hint = if other.document.provisional {
                    "; usage made it, and naming its subject in subjects takes it over"
                } else {
                    ""
                };
                Err(key_in_use(&request.key, hint))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn key_in_use(key: &str, hint: &str) -> Problem {
    let detail = format!("another customer has the key {key:?}{hint}");
    Problem::at(ProblemCode::KeyInUse, "key", detail)
}

fn fresh(id: CustomerId, request: &CreateCustomer, context: &Context) -> Customer {
    Customer {
        id,
        key: Some(request.key.clone()),
        name: request.name.clone().unwrap_or_else(|| request.key.clone()),
        subjects: request.subjects().to_vec(),
        provisional: false,
        metadata: request.metadata.clone(),
        created_at: context.now,
        updated_at: context.now,
    }
}

/// A provisional customer after it was taken over: its own subjects come first.
fn taken(before: &Customer, request: &CreateCustomer, context: &Context) -> Customer {
    let mut after = fresh(before.id, request, context);
    let more = after.subjects.into_iter().filter(|it| !before.subjects.contains(it));
    after.subjects = before.subjects.iter().cloned().chain(more).collect();
    after.created_at = before.created_at;
    after
}

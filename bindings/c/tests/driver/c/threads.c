/* Every handle that threads may share, used by several at once. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hostile.h"

#define THREADS 4
#define ROUNDS 150

struct shared {
  fixture_t *f;
  tollgate_store_t *composite;
  pthread_barrier_t barrier;
};

struct worker {
  struct shared *shared;
  int number;
  uint64_t posted;
  char wrong[1024];
};

static bool each_token(void *user, const tollgate_token_t *token) { return user == NULL && token->scopes_len > 0; }

/* Reads all of what all have. */
static const char *read_shared(fixture_t *f) {
  tollgate_header_t headers[16];
  tollgate_str_t text;
  tollgate_trace_step_t step;
  tollgate_decision_t *decision;
  char buffer[1024];
  size_t count, used;
  uint64_t amount;
  REQUIRE(tollgate_decision_verdict(f->denied) == TOLLGATE_DENY && tollgate_decision_http_status(f->denied) == 429);
  REQUIRE(tollgate_decision_headers(f->denied, headers, 16, &count, buffer, sizeof buffer, &used) == TOLLGATE_OK);
  REQUIRE(tollgate_decision_body(f->denied, buffer, sizeof buffer, &used) == TOLLGATE_OK);
  REQUIRE(tollgate_decision_account(f->allowed, buffer, sizeof buffer, &used) == TOLLGATE_OK && used == 4);
  REQUIRE(tollgate_decision_route(f->allowed, &text) == TOLLGATE_OK && text.len > 0);
  REQUIRE(tollgate_decision_reserved(f->allowed, &amount) && amount == 5);
  REQUIRE(tollgate_policy_warning_count(f->policy) > 0 && tollgate_policy_warning(f->policy, 0, &text) == TOLLGATE_OK);
  REQUIRE(tollgate_explanation_step(f->explanation, 0, &step) == TOLLGATE_OK && step.check.len > 0);
  REQUIRE(tollgate_explanation_decision(f->explanation, &decision) == TOLLGATE_OK);
  tollgate_decision_free(decision);
  return NULL;
}

static const char *one_round(struct worker *worker, int round) {
  fixture_t *f = worker->shared->f;
  tollgate_store_t *store = worker->shared->composite;
  tollgate_decision_t *decision;
  tollgate_operation_t *operation;
  tollgate_wallet_t wallet;
  char key[32];
  bool has_posted;
  uint64_t posted, expired;
  size_t processes;
  tollgate_header_t headers[2] = {f->headers[0], f->headers[1]};
  tollgate_request_t request = f->request;
  request.headers = headers;
  headers[1].value = key;
  headers[1].value_len = (size_t)snprintf(key, sizeof key, "k-%d-%d", worker->number, round);

  REQUIRE(tollgate_decide(f->engine, store, &request, &decision) == TOLLGATE_OK);
  REQUIRE(tollgate_decision_verdict(decision) == TOLLGATE_ALLOW);
  REQUIRE(tollgate_finish(decision, store, &f->finish, NOW_MS, &has_posted, &posted) == TOLLGATE_OK && posted == 5);
  tollgate_decision_free(decision);
  worker->posted += posted;

  headers[1].value_len = (size_t)snprintf(key, sizeof key, "s-%d-%d", worker->number, round);
  REQUIRE(tollgate_operation_decide(f->engine, &request, true, &operation) == TOLLGATE_OK);
  if (round % 2 == 0) {
    REQUIRE(tollgate_operation_redis_start(operation, f->redis, NULL) == TOLLGATE_OK);
    tollgate_operation_free(operation);
  } else {
    while (tollgate_operation_command(operation) != TOLLGATE_COMMAND_NONE)
      REQUIRE(tollgate_operation_perform(operation, store) == TOLLGATE_OK);
    REQUIRE(tollgate_operation_decision(operation, &decision) == TOLLGATE_OK);
    tollgate_operation_free(operation);
    REQUIRE(tollgate_finish(decision, store, &f->finish, NOW_MS, &has_posted, &posted) == TOLLGATE_OK && posted == 5);
    tollgate_decision_free(decision);
    worker->posted += posted;
  }
  /* All finish the same one, in the same way. */
  REQUIRE(tollgate_finish(f->allowed, store, &f->finish, NOW_MS, &has_posted, &posted) == TOLLGATE_OK && posted == 5);
  REQUIRE(tollgate_account_deposit(store, "acme", 4, 1, NOW_MS) == TOLLGATE_OK);
  REQUIRE(tollgate_account_wallet(store, "acme", 4, NOW_MS, &wallet) == TOLLGATE_OK);
  REQUIRE(wallet.deposited + wallet.refunded == wallet.balance + wallet.posted && wallet.held <= wallet.balance);
  REQUIRE(tollgate_token_list(store, "acme", 4, NOW_MS, each_token, NULL) == TOLLGATE_OK);
  REQUIRE(tollgate_engine_reload(f->engine, f->policy) == TOLLGATE_OK);
  REQUIRE(tollgate_store_expire(store, NOW_MS, &expired) == TOLLGATE_OK);
  REQUIRE(tollgate_limits_reclaim_dead(f->limits, NOW_MS, &processes) == TOLLGATE_OK && processes == 0);
  /* An error of one thread is none of another's. */
  headers[1].value_len = (size_t)snprintf(key, sizeof key, "nobody-%d", worker->number);
  REQUIRE(tollgate_policy_new(key, headers[1].value_len, TOLLGATE_POLICY_PRESET, &(tollgate_policy_t *){NULL}) ==
          TOLLGATE_INVALID_ARGUMENT);
  const char *wrong = read_shared(f);
  if (wrong != NULL) return wrong;
  REQUIRE(strstr(tollgate_last_error(), key) != NULL);
  return NULL;
}

static void *work(void *user) {
  struct worker *worker = user;
  pthread_barrier_wait(&worker->shared->barrier);
  for (int round = 0; round < ROUNDS; round++) {
    const char *wrong = one_round(worker, round);
    if (wrong == NULL) continue;
    snprintf(worker->wrong, sizeof worker->wrong, "thread %d, round %d: %s", worker->number, round, wrong);
    break;
  }
  return NULL;
}

const char *hostile_threads(const char *directory) {
  fixture_t *f = fixture_new(directory);
  struct shared shared = {.f = f};
  struct worker workers[THREADS];
  pthread_t threads[THREADS];
  tollgate_token_settings_t plenty = {
      .struct_size = sizeof plenty, .quota_limit = 1000000, .quota_window_ms = 60000, .set_quota = 1};
  REQUIRE(tollgate_token_put(f->store, f->digest, "acme", 4, &plenty, NOW_MS) == TOLLGATE_OK);
  REQUIRE(tollgate_account_deposit(f->store, "acme", 4, 100000, NOW_MS) == TOLLGATE_OK);
  REQUIRE(tollgate_store_composite_new(f->limits, f->store, &shared.composite) == TOLLGATE_OK);
  pthread_barrier_init(&shared.barrier, NULL, THREADS);
  for (int i = 0; i < THREADS; i++) {
    memset(&workers[i], 0, sizeof workers[i]);
    workers[i].shared = &shared;
    workers[i].number = i;
    REQUIRE(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
  }
  uint64_t posted = 5 + 5; /* before, and the one that all finish */
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < THREADS; i++) {
    if (workers[i].wrong[0] != '\0') return failure("%s", workers[i].wrong);
    posted += workers[i].posted;
  }
  tollgate_wallet_t wallet;
  REQUIRE(tollgate_account_wallet(f->store, "acme", 4, NOW_MS, &wallet) == TOLLGATE_OK);
  REQUIRE(wallet.posted == posted && wallet.deposited == 100 + 100000 + THREADS * ROUNDS);
  REQUIRE(wallet.open_reservations == 1 && wallet.held == 5);
  REQUIRE(wallet.balance == wallet.deposited - wallet.posted);
  tollgate_store_free(shared.composite);
  pthread_barrier_destroy(&shared.barrier);
  fixture_free(f);
  return NULL;
}

/* What no caller should do, done. Tests give null when they pass, and else what is wrong. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "tollgate.h"

/* Everything that a function may need, in a state in which it works. */
typedef struct fixture {
  const char *directory; /* an empty one */
  tollgate_policy_t *policy;
  tollgate_engine_t *engine;
  tollgate_store_t *store;
  void *region, *spare_region;
  size_t region_len;
  tollgate_limits_t *limits;
  tollgate_header_t headers[2];
  tollgate_request_t request;
  tollgate_decision_t *allowed; /* holds a key and 5 units */
  tollgate_decision_t *denied;  /* rate limited */
  uint64_t held, posted;        /* reservations, of which the first is of `allowed` */
  tollgate_explanation_t *explanation;
  tollgate_operation_t *asking;   /* for its first command */
  tollgate_operation_t *looked_up; /* for its second one, which wants the body */
  tollgate_operation_t *decided;  /* has a decision to give */
  tollgate_operation_t *settling; /* asks for its only command */
  tollgate_operation_t *settled;  /* has told nobody yet */
  tollgate_redis_t *redis;
  tollgate_operation_t *carried; /* calls to Redis are under way */
  tollgate_header_t kept[1];
  tollgate_response_t response;
  tollgate_finish_t finish;
  uint8_t digest[32], other_digest[32];
} fixture_t;

#define NOW_MS UINT64_C(1700000000000)

fixture_t *fixture_new(const char *directory);
void fixture_free(fixture_t *fixture);
/* A map that a store can be opened in. It keeps nothing: it says that it does not answer. */
extern const tollgate_host_map_t no_map;

/* Says what is wrong; kept until the next failure. */
const char *failure(const char *format, ...);

#define REQUIRE(condition)                                                                                        \
  do {                                                                                                            \
    if (!(condition)) return failure("%s:%d: %s (%s)", __FILE__, __LINE__, #condition, tollgate_last_error());    \
  } while (0)

#endif

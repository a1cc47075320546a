/* One case a function of the interface. Its arguments are good, but for the one that is probed. */
#ifndef PROBE_H
#define PROBE_H

#include "hostile.h"

/* What is wrong with one argument. */
enum probe { NOTHING, IS_NULL, IS_MISALIGNED, IS_HUGE, IS_NO_UTF8, PANICS, PROBES };

/* Pointers that must not be null; with an alignment, and without. */
#define P(slot, pointer) probed_pointer(slot, 1u << IS_NULL | 1u << IS_MISALIGNED, pointer)
#define Q(slot, pointer) probed_pointer(slot, 1u << IS_NULL, pointer)
/* Functions that must not be null. */
#define F(slot, function) (probed(slot, 1u << IS_NULL, IS_NULL) ? NULL : (function))
/* A text with its length; some bytes with theirs. */
#define TEXTS (1u << IS_NULL | 1u << IS_HUGE | 1u << IS_NO_UTF8)
#define T(slot, text) probed_text(slot, text), probed_len(slot, TEXTS, strlen(text))
#define BYTES (1u << IS_NULL | 1u << IS_HUGE)
#define B(slot, bytes, len) probed_pointer(slot, BYTES, bytes), probed_len(slot, BYTES, len)
/* A buffer: null, and what no memory has. */
#define W(slot, buffer, len) B(slot, buffer, len)

/* An out-parameter, which an error leaves as it is. */
#define OUT(type, name)        \
  type name;                   \
  expect_untouched(&name, sizeof name)

/* A function that gives a value: what is right, and what it gives when it cannot. */
#define VALUE(call, good, otherwise)         \
  do {                                        \
    __typeof__(call) value = (call);          \
    return told(value good, value otherwise); \
  } while (0)

bool probed(int slot, unsigned probes, enum probe probe);
void *probed_pointer(int slot, unsigned probes, const void *pointer);
const char *probed_text(int slot, const char *text);
size_t probed_len(int slot, unsigned probes, size_t len);
void expect_untouched(void *out, size_t len);
tollgate_result_t told(bool good, bool otherwise);
/* The result, once it was seen that out-parameters are as they should be. */
tollgate_result_t checked(tollgate_result_t result);

typedef struct probe_case {
  const char *function;
  tollgate_result_t (*run)(fixture_t *f);
} probe_case_t;

extern const probe_case_t probe_cases[];
extern const size_t probe_case_count;

#endif

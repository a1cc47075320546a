/* Probes every argument of every function: null, misaligned, longer than any memory, not UTF-8; and a panic within. */
#include "probe.h"

#include <string.h>

#define SLOTS 16
#define OUTS 4

static struct {
  int slot;
  enum probe probe;
  unsigned kinds[SLOTS]; /* what each slot can be probed with, as the case says when it runs */
  struct {
    unsigned char *at;
    size_t len;
  } outs[OUTS];
  size_t outs_count;
  bool was_touched;
} now;

bool probed(int slot, unsigned probes, enum probe probe) {
  now.kinds[slot] |= probes;
  return now.slot == slot && now.probe == probe;
}

void *probed_pointer(int slot, unsigned probes, const void *pointer) {
  if (probed(slot, probes, IS_NULL)) return NULL;
  bool off = probed(slot, probes, IS_MISALIGNED);
  return (void *)(uintptr_t)((uintptr_t)pointer + (off ? 1 : 0));
}

const char *probed_text(int slot, const char *text) {
  if (probed(slot, TEXTS, IS_NULL)) return NULL;
  return probed(slot, TEXTS, IS_NO_UTF8) ? "\xFF\xFE" : text;
}

size_t probed_len(int slot, unsigned probes, size_t len) {
  if (probed(slot, probes, IS_HUGE)) return SIZE_MAX;
  return probed(slot, probes, IS_NO_UTF8) ? 2 : len;
}

void expect_untouched(void *out, size_t len) {
  memset(out, 0xA5, len);
  now.outs[now.outs_count].at = out;
  now.outs[now.outs_count].len = len;
  now.outs_count++;
}

static tollgate_result_t expected(enum probe probe) {
  switch (probe) {
    case IS_NULL: return TOLLGATE_NULL_POINTER;
    case IS_NO_UTF8: return TOLLGATE_NOT_UTF8;
    case PANICS: return TOLLGATE_PANIC;
    case NOTHING: return TOLLGATE_OK;
    default: return TOLLGATE_INVALID_ARGUMENT;
  }
}

tollgate_result_t checked(tollgate_result_t result) {
  if (result != TOLLGATE_OK) {
    for (size_t out = 0; out < now.outs_count; out++)
      for (size_t i = 0; i < now.outs[out].len; i++)
        if (now.outs[out].at[i] != 0xA5) now.was_touched = true;
  }
  now.outs_count = 0;
  return result;
}

tollgate_result_t told(bool good, bool otherwise) {
  if (now.probe == NOTHING) return checked(good ? TOLLGATE_OK : TOLLGATE_INVALID_ARGUMENT);
  return checked(otherwise ? expected(now.probe) : TOLLGATE_OK);
}

static const char *const names[PROBES] = {"as it should be", "null", "misaligned", "SIZE_MAX", "not UTF-8", "a panic"};

static const char *run(const probe_case_t *probe_case, const char *directory, int slot, enum probe probe,
                       void (*inject)(void)) {
  fixture_t *f = fixture_new(directory);
  memset(now.outs, 0, sizeof now.outs);
  now.outs_count = 0;
  now.was_touched = false;
  now.slot = slot;
  now.probe = probe;
  if (probe == PANICS) inject();
  tollgate_result_t result = probe_case->run(f);
  fixture_free(f);
  if (result != expected(probe))
    return failure("%s, argument %d, %s: gave %s, \"%s\"", probe_case->function, slot, names[probe],
                   tollgate_result_name(result), tollgate_last_error());
  if (now.was_touched) return failure("%s, argument %d, %s: wrote a result", probe_case->function, slot, names[probe]);
  if (probe != NOTHING && tollgate_last_error()[0] == '\0')
    return failure("%s, argument %d, %s: has no text", probe_case->function, slot, names[probe]);
  return NULL;
}

const char *hostile_function(size_t index) {
  return index < probe_case_count ? probe_cases[index].function : NULL;
}

/* All probes of the function at this index. `inject` makes the next call of the library panic. Counts what was probed. */
const char *hostile_probe(size_t index, const char *directory, void (*inject)(void), size_t *probes) {
  const probe_case_t *probe_case = &probe_cases[index];
  memset(now.kinds, 0, sizeof now.kinds);
  const char *wrong = run(probe_case, directory, -1, NOTHING, inject);
  unsigned kinds[SLOTS];
  memcpy(kinds, now.kinds, sizeof kinds);
  for (int slot = 0; wrong == NULL && slot < SLOTS; slot++) {
    for (int probe = IS_NULL; wrong == NULL && probe < PANICS; probe++) {
      if ((kinds[slot] & 1u << probe) == 0) continue;
      wrong = run(probe_case, directory, slot, (enum probe)probe, inject);
      ++*probes;
    }
  }
  return wrong;
}

/* A panic within the function at this index. */
const char *hostile_panic(size_t index, const char *directory, void (*inject)(void)) {
  return run(&probe_cases[index], directory, -1, PANICS, inject);
}

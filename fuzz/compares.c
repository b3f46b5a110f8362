/* What the instrumentation calls at each comparison, with a switch before it: libFuzzer learns from
 * comparisons what words an input lacks, but that costs more than all else. WARDEN_FUZZ_COMPARES=0
 * does without. The linker puts these before libFuzzer's own (--wrap). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int is_on = 1;

__attribute__((constructor)) static void look(void) {
  const char *word = getenv("WARDEN_FUZZ_COMPARES");
  is_on = !word || strcmp(word, "0") != 0;
}

/* A call at the end leaves the caller's address where libFuzzer looks for it. */
#define SWITCHED(name, type)                                                                       \
  void __real___sanitizer_cov_trace_##name(type, type);                                            \
  void __wrap___sanitizer_cov_trace_##name(type a, type b) {                                       \
    if (is_on) __real___sanitizer_cov_trace_##name(a, b);                                          \
  }

SWITCHED(cmp1, uint8_t)
SWITCHED(cmp2, uint16_t)
SWITCHED(cmp4, uint32_t)
SWITCHED(cmp8, uint64_t)
SWITCHED(const_cmp1, uint8_t)
SWITCHED(const_cmp2, uint16_t)
SWITCHED(const_cmp4, uint32_t)
SWITCHED(const_cmp8, uint64_t)

void __real___sanitizer_cov_trace_switch(uint64_t, uint64_t *);
void __wrap___sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases) {
  if (is_on) __real___sanitizer_cov_trace_switch(value, cases);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rank 0 gathers of the ranks' rings at the end of a run, headers and events, and the file it makes of them:
 * whatever they hold, it is JSON.
 */
#include "worker/step/rings.h"

#include "core/base/alloc.h"
#include "core/formats/json.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define WORLD 2
#define MOST 64 /* events that are told; more of them are as good as these */

static void tell(const struct ls_ring_header *headers, const uint8_t *data, size_t size, size_t total)
{
    struct ls_trace_event *events = ls_alloc_zeroed(total + 1, sizeof *events);
    struct ls_tracing tracing = {.any = true, .zero_ns = 1000};
    struct ls_buf text = {0};
    json_t *value = NULL;

    if (size > 0)
        memcpy(events, data, size < total * sizeof *events ? size : total * sizeof *events);
    ls_rings_tell(&tracing, WORLD, headers, events, &text);
    LST_FUZZ_CHECK(text.length > 2 && text.data[text.length - 2] == ',');
    text.length -= 2;
    (void)ls_buf_append_string(&text, "\n]\n");
    LST_FUZZ_CHECK(ls_json_parse((const char *)text.data, text.length, "the trace", &value, NULL) == LS_OK);
    json_decref(value);
    ls_buf_deinit(&text);
    ls_free(events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ls_ring_header headers[WORLD];
    struct ls_error err = LS_ERROR_INIT;
    size_t head = size < sizeof headers ? size : sizeof headers, total = 0;

    memset(headers, 0, sizeof headers);
    if (head > 0)
        memcpy(headers, data, head);
    if (ls_rings_count(headers, WORLD, &total, &err) != LS_OK) {
        LST_FUZZ_CHECK(err.status == LS_EPEER && err.message[0] != '\0');
        return 0;
    }
    LST_FUZZ_CHECK(total <= (size_t)WORLD * LS_TRACE_EVENTS);
    if (total <= MOST)
        tell(headers, data + head, size - head, total);
    return 0;
}

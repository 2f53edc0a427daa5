/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What peers say of an end. First byte even: messages over tcp's alarm connection, in pieces, as they come out of a
 * socket. Odd: the words that the members of a shared-memory group leave for one another.
 */
#include "collective/transport/shm/words.h"
#include "collective/transport/tcp/words.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define WORLD 3

static void use_message(struct tcp_message message, const struct tcp_hearer *hearer)
{
    struct tcp_told told;
    bool names_rank;

    lsi_tcp_word_check(&message, hearer);
    names_rank = message.culprit >= 0 && message.culprit < hearer->world;
    LST_FUZZ_CHECK(memchr(message.reason, 0, sizeof message.reason) != NULL);
    switch (message.word) {
    case TCP_BYE:
        return;
    case TCP_WAITS:
    case TCP_DIED:
        LST_FUZZ_CHECK(names_rank || message.culprit == -1);
        return;
    case TCP_ALIVE:
        LST_FUZZ_CHECK(!lsi_tcp_told_read(&message, &told) || (told.pid > 0 && told.fd >= 0));
        return;
    default:
        LST_FUZZ_CHECK(message.word == TCP_ABORT && names_rank);
        LST_FUZZ_CHECK(message.status < LS_OK && message.status > LS_EAGAIN);
    }
}

static void hear_tcp(const uint8_t *data, size_t size)
{
    const struct tcp_hearer hearer = {.world = WORLD, .from = 1};
    struct tcp_heard heard = {.bytes = 0};
    struct tcp_message message;
    size_t piece = size > 0 ? 1 + data[0] % 97 : 1;

    for (size_t at = 0; at < size;) {
        size_t lacks = sizeof heard.message - heard.bytes, n = size - at < piece ? size - at : piece;
        enum ls_status status;

        n = n < lacks ? n : lacks;
        memcpy((uint8_t *)&heard.message + heard.bytes, data + at, n);
        at += n;
        status = lsi_tcp_heard_more(&heard, n, &message);
        LST_FUZZ_CHECK(heard.bytes < sizeof heard.message);
        if (status == LS_EPEER)
            return;
        if (status == LS_OK)
            use_message(message, &hearer);
    }
}

static void hear_shm(const uint8_t *data, size_t size)
{
    struct shm_end end;
    struct ls_error err = LS_ERROR_INIT;
    uint32_t word = 0;
    int culprit = WORLD, rank;
    enum ls_status status;

    memset((void *)&end, 0, sizeof end);
    memcpy((void *)&end, data, size < sizeof end ? size : sizeof end);
    /* 1 is waited on; any other value is as good. */
    if (end.state == 1)
        end.state = 2;
    status = lsi_shm_end_read(&end, WORLD, &culprit, &err);
    LST_FUZZ_CHECK(status < LS_OK && status > LS_EAGAIN && err.status == status);
    LST_FUZZ_CHECK(culprit >= -1 && culprit < WORLD);
    memcpy(&word, data, size < sizeof word ? size : sizeof word);
    rank = lsi_shm_waits_read(word, WORLD);
    LST_FUZZ_CHECK(rank >= -1 && rank < WORLD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] % 2 == 0)
        hear_tcp(data + 1, size - 1);
    else
        hear_shm(data + 1, size - 1);
    return 0;
}

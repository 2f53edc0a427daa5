/* SPDX-License-Identifier: Apache-2.0 */
/* The cards by which members of a group over NCCL tell one another who takes part. */
#include "collective/provider/nccl/card.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define VERSION 22203

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ls_member members[2] = {{.worker = 100, .host = "a"}, {.worker = 101, .host = "b"}};
    struct ls_group group = {.members = members, .world = 2, .rank = 0};
    struct ls_error err = LS_ERROR_INIT;
    struct nccl_card card = {.status = LS_OK};
    enum ls_status status;

    memcpy(&card, data, size < sizeof card ? size : sizeof card);
    status = lsi_nccl_card_judge(&group, 1, VERSION, &card, &err);
    LST_FUZZ_CHECK(memchr(card.reason, 0, sizeof card.reason) != NULL);
    if (status == LS_OK)
        LST_FUZZ_CHECK(card.status == LS_OK && card.version == VERSION);
    else
        LST_FUZZ_CHECK(status > LS_EAGAIN && err.message[0] != '\0');
    return 0;
}

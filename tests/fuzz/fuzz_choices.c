/* SPDX-License-Identifier: Apache-2.0 */
/* LOCKSTEP_COLLECTIVES, the table of choices as one string: what is understood is printed as something that means the
 * same. */
#include "collective/choice.h"
#include "core/base/alloc.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = ls_alloc(size + 1);
    struct lsi_choices choices, again;
    struct ls_error err = LS_ERROR_INIT;

    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (lsi_choices_make(text, &choices, &err) != LS_OK) {
        LST_FUZZ_CHECK(err.status == LS_EINVAL && err.message[0] != '\0');
        ls_free(text);
        return 0;
    }
    LST_FUZZ_CHECK(choices.given >= 0 && choices.given < choices.count && choices.count <= LSI_MAX_CHOICES);
    for (int i = 0; i < choices.given; i++) {
        const struct lsi_choice *row = &choices.row[i], *same = &again.row[0];
        char printed[80];

        LST_FUZZ_CHECK(lsi_choices_make(lsi_choice_text(row, printed), &again, &err) == LS_OK && again.given == 1);
        LST_FUZZ_CHECK(strcmp(row->transport, same->transport) == 0 && row->kind == same->kind);
        LST_FUZZ_CHECK(row->world == same->world && row->bytes == same->bytes && row->way == same->way);
        LST_FUZZ_CHECK(row->world >= 0 && row->bytes >= 0 && row->way <= LSI_LAST_WAY);
    }
    ls_free(text);
    return 0;
}

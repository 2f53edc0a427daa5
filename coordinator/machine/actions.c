/* SPDX-License-Identifier: Apache-2.0 */
/* The list of actions that one step gives, with the texts they point at. */
#include "coordinator/machine/machine_internal.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <stdarg.h>
#include <stdio.h>

struct ls_action *lsi_act(struct ls_machine *machine, enum ls_action_kind kind)
{
    static struct ls_action spare; /* written, never read: the step reports LS_ENOMEM instead of its actions */

    if (machine->action_count == machine->action_capacity) {
        int capacity = machine->action_capacity == 0 ? 16 : 2 * machine->action_capacity;
        struct ls_action *grown = ls_realloc(machine->actions, (size_t)capacity, sizeof *grown);

        if (grown == NULL) {
            machine->out_of_memory = true;
            return &spare;
        }
        machine->actions = grown;
        machine->action_capacity = capacity;
    }
    machine->actions[machine->action_count] =
        (struct ls_action){.kind = kind, .generation = machine->generation, .child = -1};
    return &machine->actions[machine->action_count++];
}

static const char *keep(struct ls_machine *machine, char *text)
{
    if (text != NULL && machine->text_count == machine->text_capacity) {
        int capacity = machine->text_capacity == 0 ? 16 : 2 * machine->text_capacity;
        char **grown = ls_realloc(machine->texts, (size_t)capacity, sizeof *grown);

        if (grown == NULL) {
            ls_free(text);
            text = NULL;
        } else {
            machine->texts = grown;
            machine->text_capacity = capacity;
        }
    }
    if (text == NULL) {
        machine->out_of_memory = true;
        return "";
    }
    machine->texts[machine->text_count++] = text;
    return text;
}

__attribute__((format(printf, 1, 0))) static char *format_text(const char *format, va_list arguments)
{
    char text[2 * LS_WIRE_SENTENCE];

    (void)vsnprintf(text, sizeof text, format, arguments);
    return ls_str_copy(text);
}

const char *lsi_text(struct ls_machine *machine, const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = format_text(format, arguments);
    va_end(arguments);
    return keep(machine, text);
}

const char *lsi_text_copy(struct ls_machine *machine, const char *text)
{
    return keep(machine, ls_str_copy(text));
}

void lsi_log(struct ls_machine *machine, const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = format_text(format, arguments);
    va_end(arguments);
    lsi_act(machine, LS_ACTION_LOG)->text = keep(machine, text);
}

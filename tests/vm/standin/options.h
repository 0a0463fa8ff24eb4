/* SPDX-License-Identifier: GPL-2.0 */
/* Geneve options as drivers are given them: one behind the other, each with its header. */
#ifndef STANDIN_OPTIONS_H
#define STANDIN_OPTIONS_H

#include <linux/seq_file.h>
#include <net/geneve.h>

#define OPTIONS_ROOM	256	/* the dissector's room: FLOW_DIS_TUN_OPTS_MAX */

struct options {
	u32 len;
	u8 data[OPTIONS_ROOM];
};

/* Return the option at an offset and move on behind it; NULL at the end. */
static const struct geneve_opt *next_option(const struct options *all, u32 *at)
{
	const struct geneve_opt *option = (const void *)(all->data + *at);

	if (*at + sizeof(*option) > all->len)
		return NULL;
	*at += sizeof(*option) + option->length * 4;
	return option;
}

static u32 count_options(const struct options *all)
{
	u32 at = 0, count = 0;

	while (next_option(all, &at))
		count++;
	return count;
}

static void show_options(struct seq_file *file, const char *word, const struct options *all)
{
	const struct geneve_opt *option;
	u32 at = 0, i;

	while ((option = next_option(all, &at))) {
		seq_printf(file, " %s=%04x:%02x:", word, be16_to_cpu(option->opt_class), option->type);
		for (i = 0; i < option->length * 4; i++)	/* %*ph stops at 64 bytes */
			seq_printf(file, "%02x", ((const u8 *)option->opt_data)[i]);
	}
}

#endif

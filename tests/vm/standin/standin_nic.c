// SPDX-License-Identifier: GPL-2.0
/*
 * standin_nic - the control path of a NIC that takes flow offload, for tests on machines without one.
 *
 * NO HARDWARE: nothing is offloaded.  A rule that is "in hardware" here was shown to this driver, which said yes; the
 * packets go through software TC, which has the same rule.  No figure taken with it says anything about a NIC.
 *
 *   sniN <---> sniN     "pairs" couples of Ethernet devices, 0-1, 2-3, ...: what one sends the other receives
 *
 * Each takes flower rules on itself and, as drivers do (flow_indr_dev_register), on the geneve devices above; each is
 * told the UDP ports of tunnels.  What it refuses is for the user to say:
 *
 *   options_max        Geneve options in one rule's match, and in what one rule sets
 *   option_bytes_max   their bytes, headers included
 *   refuse_all         every rule
 *
 * /sys/kernel/debug/standin_nic/{rules,refused,ports} say what this driver was shown and what it answered; "netns" is
 * the inode of /run/netns/NAME, since devices of one name live in several.
 */
#include <linux/debugfs.h>
#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <net/flow_offload.h>
#include <net/ip_tunnels.h>
#include <net/pkt_cls.h>
#include <net/udp_tunnel.h>

#include "options.h"

#define TUNNEL_PORTS	8
static uint pairs = 2;
module_param(pairs, uint, 0444);
static uint options_max = 63;
module_param(options_max, uint, 0644);
static uint option_bytes_max = 252;
module_param(option_bytes_max, uint, 0644);
static bool refuse_all;
module_param(refuse_all, bool, 0644);

struct end {
	struct net_device *peer;
	u16 ports[TUNNEL_PORTS];
};

struct rule {
	struct list_head list;
	unsigned long cookie;
	void *dev;	/* only compared */
	char name[IFNAMSIZ];
	uint netns;
	bool tunnel;
	u64 vni;
	struct options match, set;
};

enum verdict { ACCEPTED, EVERY_RULE, TOO_MANY, TOO_LONG, VERDICTS };

static const char * const reasons[VERDICTS] = { "", "refuse_all", "options_max", "option_bytes_max" };

static LIST_HEAD(rules);
static LIST_HEAD(block_cbs);
static DEFINE_MUTEX(lock);	/* of rules and refused */
static u64 refused[VERDICTS];
static struct net_device **devs;
static struct dentry *folder;

/* ---- what a rule asks for ---- */

static void read_match(struct rule *rule, struct flow_rule *flow)
{
	struct flow_match_enc_keyid id;
	struct flow_match_enc_opts opts;

	if (flow_rule_match_key(flow, FLOW_DISSECTOR_KEY_ENC_KEYID)) {
		flow_rule_match_enc_keyid(flow, &id);
		rule->tunnel = true;
		rule->vni = be32_to_cpu(id.key->keyid);
	}
	if (!flow_rule_match_key(flow, FLOW_DISSECTOR_KEY_ENC_OPTS))
		return;
	flow_rule_match_enc_opts(flow, &opts);
	if (opts.key->dst_opt_type != TUNNEL_GENEVE_OPT)
		return;
	rule->match.len = opts.key->len;
	memcpy(rule->match.data, opts.key->data, opts.key->len);
}

static void read_actions(struct rule *rule, struct flow_rule *flow)
{
	struct flow_action_entry *act;
	int i;

	flow_action_for_each(i, act, &flow->action) {
		if (act->id != FLOW_ACTION_TUNNEL_ENCAP || !act->tunnel)
			continue;
		rule->tunnel = true;
		rule->vni = be64_to_cpu(act->tunnel->key.tun_id);
		if (!(act->tunnel->key.tun_flags & TUNNEL_GENEVE_OPT))
			continue;
		rule->set.len = act->tunnel->options_len;
		memcpy(rule->set.data, ip_tunnel_info_opts(act->tunnel), rule->set.len);
	}
}

/* The messages reach the user with skip_sw or verbose; otherwise TC goes on in software and tells nobody. */
static enum verdict judge(const struct rule *rule, struct netlink_ext_ack *extack)
{
	if (refuse_all) {
		NL_SET_ERR_MSG_MOD(extack, "every rule is refused (refuse_all)");
		return EVERY_RULE;
	}
	if (count_options(&rule->match) > options_max || count_options(&rule->set) > options_max) {
		NL_SET_ERR_MSG_MOD(extack, "more Geneve options than options_max");
		return TOO_MANY;
	}
	if (rule->match.len > option_bytes_max || rule->set.len > option_bytes_max) {
		NL_SET_ERR_MSG_MOD(extack, "more bytes of Geneve options than option_bytes_max");
		return TOO_LONG;
	}
	return ACCEPTED;
}

/* ---- rules ---- */

static void forget_rule(struct net_device *dev, unsigned long cookie)
{
	struct rule *rule, *next;

	list_for_each_entry_safe(rule, next, &rules, list)
		if (rule->dev == dev && rule->cookie == cookie) {
			list_del(&rule->list);
			kfree(rule);
		}
}

static int replace_rule(struct net_device *dev, struct flow_cls_offload *offload)
{
	struct flow_rule *flow = flow_cls_offload_flow_rule(offload);
	struct rule *rule = kzalloc(sizeof(*rule), GFP_KERNEL);
	enum verdict verdict;

	if (!rule)
		return -ENOMEM;
	rule->cookie = offload->cookie;
	rule->dev = dev;
	strscpy(rule->name, dev->name, IFNAMSIZ);
	rule->netns = dev_net(dev)->ns.inum;
	read_match(rule, flow);
	read_actions(rule, flow);
	verdict = judge(rule, offload->common.extack);
	mutex_lock(&lock);
	if (verdict == ACCEPTED) {
		forget_rule(dev, offload->cookie);
		list_add_tail(&rule->list, &rules);
	} else {
		refused[verdict]++;
		kfree(rule);
	}
	mutex_unlock(&lock);
	return verdict == ACCEPTED ? 0 : -EOPNOTSUPP;
}

static int block_cb(enum tc_setup_type type, void *data, void *priv)
{
	struct flow_cls_offload *offload = data;

	if (type != TC_SETUP_CLSFLOWER)
		return -EOPNOTSUPP;
	switch (offload->command) {
	case FLOW_CLS_REPLACE:
		return replace_rule(priv, offload);
	case FLOW_CLS_DESTROY:
		mutex_lock(&lock);
		forget_rule(priv, offload->cookie);
		mutex_unlock(&lock);
		return 0;
	case FLOW_CLS_STATS:
		return 0;	/* software TC counts: it forwards */
	default:
		return -EOPNOTSUPP;
	}
}

static void indr_release(void *priv) { }

/* How rules on a tunnel device (genev_sys_6081) reach the NICs beneath it. */
static int indr_cb(struct net_device *dev, struct Qdisc *sch, void *cb_priv, enum tc_setup_type type, void *type_data,
		   void *data, void (*cleanup)(struct flow_block_cb *block_cb))
{
	struct flow_block_offload *block = type_data;
	struct flow_block_cb *cb;

	if (type != TC_SETUP_BLOCK || !dev || !netif_is_geneve(dev) ||
	    block->binder_type != FLOW_BLOCK_BINDER_TYPE_CLSACT_INGRESS)
		return -EOPNOTSUPP;
	block->unlocked_driver_cb = false;
	block->driver_block_list = &block_cbs;
	if (block->command == FLOW_BLOCK_BIND) {
		if (flow_block_cb_is_busy(block_cb, dev, &block_cbs))
			return -EBUSY;
		cb = flow_indr_block_cb_alloc(block_cb, dev, dev, indr_release, block, dev, sch, data, cb_priv, cleanup);
		if (IS_ERR(cb))
			return PTR_ERR(cb);
		flow_block_cb_add(cb, block);
		list_add_tail(&cb->driver_list, &block_cbs);
		return 0;
	}
	cb = flow_block_cb_lookup(block->block, block_cb, dev);
	if (!cb)
		return -ENOENT;
	flow_indr_block_cb_remove(cb, block);
	list_del(&cb->driver_list);
	return 0;
}

/* ---- devices ---- */

static struct end *end_of(const struct net_device *dev) { return netdev_priv(dev); }

static netdev_tx_t xmit(struct sk_buff *skb, struct net_device *dev)
{
	unsigned int len = skb->len;

	skb_tx_timestamp(skb);
	if (dev_forward_skb(end_of(dev)->peer, skb) == NET_RX_SUCCESS)
		dev_sw_netstats_tx_add(dev, 1, len);
	else
		dev->stats.tx_dropped++;
	return NETDEV_TX_OK;
}

static int setup_tc(struct net_device *dev, enum tc_setup_type type, void *data)
{
	if (type != TC_SETUP_BLOCK)
		return -EOPNOTSUPP;
	return flow_block_cb_setup_simple(data, &block_cbs, block_cb, dev, dev, true);
}

static int set_port(struct net_device *dev, uint table, uint entry, struct udp_tunnel_info *info)
{
	end_of(dev)->ports[entry] = be16_to_cpu(info->port);
	return 0;
}

static int unset_port(struct net_device *dev, uint table, uint entry, struct udp_tunnel_info *info)
{
	end_of(dev)->ports[entry] = 0;
	return 0;
}

static const struct udp_tunnel_nic_info tunnel_info = {
	.set_port = set_port,
	.unset_port = unset_port,
	.tables = { { .n_entries = TUNNEL_PORTS, .tunnel_types = UDP_TUNNEL_TYPE_GENEVE } },
};

static const struct net_device_ops netdev_ops = {
	.ndo_start_xmit = xmit,
	.ndo_setup_tc = setup_tc,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_get_stats64 = dev_get_tstats64,
};

static void get_drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	strscpy(info->driver, KBUILD_MODNAME, sizeof(info->driver));
	strscpy(info->fw_version, "stand-in, no hardware", sizeof(info->fw_version));
}

static const struct ethtool_ops ethtool_ops = {
	.get_drvinfo = get_drvinfo,
	.get_link = ethtool_op_get_link,
};

static void setup(struct net_device *dev)
{
	ether_setup(dev);
	dev->netdev_ops = &netdev_ops;
	dev->ethtool_ops = &ethtool_ops;
	dev->udp_tunnel_nic_info = &tunnel_info;
	dev->priv_flags |= IFF_NO_QUEUE;
	dev->max_mtu = 9600;
	dev->hw_features = NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_HW_CSUM | NETIF_F_HIGHDMA | NETIF_F_ALL_TSO |
		NETIF_F_GSO_UDP_TUNNEL | NETIF_F_GSO_UDP_TUNNEL_CSUM | NETIF_F_RX_UDP_TUNNEL_PORT | NETIF_F_HW_TC;
	dev->hw_enc_features = dev->hw_features;
	dev->features |= dev->hw_features | NETIF_F_LLTX;
	eth_hw_addr_random(dev);
}

/* ---- debugfs ---- */

static int rules_show(struct seq_file *file, void *unused)
{
	struct rule *rule;

	mutex_lock(&lock);
	list_for_each_entry(rule, &rules, list) {
		seq_printf(file, "dev=%s netns=%u", rule->name, rule->netns);
		if (rule->tunnel)
			seq_printf(file, " vni=%llu", rule->vni);
		show_options(file, "match", &rule->match);
		show_options(file, "set", &rule->set);
		seq_putc(file, '\n');
	}
	mutex_unlock(&lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(rules);

static int refused_show(struct seq_file *file, void *unused)
{
	int i;

	mutex_lock(&lock);
	for (i = ACCEPTED + 1; i < VERDICTS; i++)
		seq_printf(file, "%s=%llu\n", reasons[i], refused[i]);
	mutex_unlock(&lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(refused);

static int ports_show(struct seq_file *file, void *unused)
{
	uint i, j;

	for (i = 0; i < 2 * pairs; i++)
		for (j = 0; j < TUNNEL_PORTS; j++)
			if (end_of(devs[i])->ports[j])
				seq_printf(file, "dev=%s netns=%u port=%u\n", devs[i]->name,
					   dev_net(devs[i])->ns.inum, end_of(devs[i])->ports[j]);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(ports);

/* ---- module ---- */

static void drop_devices(void)
{
	uint i;

	for (i = 0; i < 2 * pairs && devs[i]; i++) {
		unregister_netdev(devs[i]);
		free_percpu(devs[i]->tstats);
		free_netdev(devs[i]);
	}
	kfree(devs);
}

static struct net_device *make_device(void)
{
	struct net_device *dev = alloc_netdev(sizeof(struct end), "sni%d", NET_NAME_ENUM, setup);

	if (!dev)
		return NULL;
	dev->tstats = netdev_alloc_pcpu_stats(struct pcpu_sw_netstats);
	if (dev->tstats && !register_netdev(dev))
		return dev;
	free_percpu(dev->tstats);
	free_netdev(dev);
	return NULL;
}

static int __init start(void)
{
	uint i;

	devs = kcalloc(2 * pairs, sizeof(*devs), GFP_KERNEL);
	if (!devs)
		return -ENOMEM;
	for (i = 0; i < 2 * pairs; i++) {
		devs[i] = make_device();
		if (!devs[i])
			goto fail;
	}
	/* None is up yet, so none sends before it has a peer. */
	for (i = 0; i < 2 * pairs; i++)
		end_of(devs[i])->peer = devs[i ^ 1];
	if (flow_indr_dev_register(indr_cb, NULL))
		goto fail;
	folder = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("rules", 0444, folder, NULL, &rules_fops);
	debugfs_create_file("refused", 0444, folder, NULL, &refused_fops);
	debugfs_create_file("ports", 0444, folder, NULL, &ports_fops);
	return 0;
fail:
	drop_devices();
	return -ENOMEM;
}
module_init(start);
/* No unload: what holds rules of ours, in other namespaces, goes with the guest. */

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Stand-in for a NIC with flow offload: its control path, no hardware");

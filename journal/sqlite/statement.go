package sqlite

// statements are those of the writer, prepared once.
type statements struct {
	tenantGet, tenantAdd *stmt

	headGet, headAdd, headFold, frameEnd         *stmt
	headStep, headSummary                        *stmt // a commit without and with a list row
	headStepRelease, headSummaryRelease          *stmt // … that gives up the claim
	headDue, headClaim, headFree                 *stmt
	leftOver, ownedBy, woken, nextWake, withMail *stmt

	placeMax, frameAdd         *stmt
	inputAdd, inputGet         *stmt
	mailAdd, mailTake, mailAny *stmt
	mailMax                    *stmt
	askAdd, askClose, askGet   *stmt
	drawAdd, drawGet           *stmt
	budgetGet, budgetSet       *stmt
	versionAdd, versionSet     *stmt
	snapshotSet                *stmt
}

func (s *statements) prepare(c *conn) (err error) {
	const step = `UPDATE head SET next = ?, wake_at = ?, busy = ?, fold = max(fold, ?)`
	const summary = `, status = ?, agent = ?, cost = ?, reserved = ?, input = ?, cache_read = ?,
		cache_write_5m = ?, cache_write_1h = ?, output = ?, reasoning = ?, summary = ?`
	const release = `, lease = ''`
	const claimed = ` WHERE no = ? AND epoch = ? AND next = ? AND lease = ?`
	for _, p := range []struct {
		stmt **stmt
		text string
	}{
		{&s.tenantGet, `SELECT no FROM tenant WHERE name = ?`},
		{&s.tenantAdd, `INSERT INTO tenant (name) VALUES (?)`},

		{&s.headGet, `SELECT no, epoch, next, lease, fold FROM head WHERE tenant = ? AND session = ?`},
		{&s.headAdd, `INSERT INTO head (tenant, session, epoch, next, lease, wake_at, busy, fold, status, agent, cost, reserved,
			input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, summary, lineage)
			VALUES (?, ?, 0, ?, '', 0, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&s.headFold, `SELECT fold, no FROM head WHERE tenant = ? AND session = ?`},
		{&s.frameEnd, `SELECT first + count - 1 FROM frame WHERE tenant = ? AND session = ? AND first <= ? ORDER BY first DESC LIMIT 1`},
		{&s.headStep, step + claimed},
		{&s.headSummary, step + summary + claimed},
		{&s.headStepRelease, step + release + claimed},
		{&s.headSummaryRelease, step + summary + release + claimed},
		{&s.headDue, `SELECT h.tenant, t.name, h.session, h.epoch, h.next, h.lease, h.busy, h.wake_at, h.fold,
			EXISTS (SELECT 1 FROM inbox i WHERE i.tenant = h.tenant AND i.session = h.no)
			FROM head h JOIN tenant t ON t.no = h.tenant WHERE h.no = ?`},
		{&s.headClaim, `UPDATE head SET epoch = epoch + 1, lease = ? WHERE no = ?`},
		{&s.headFree, `UPDATE head SET lease = '' WHERE no = ?`},
		{&s.leftOver, `SELECT no FROM head WHERE lease <> '' UNION SELECT no FROM head WHERE busy = 1 AND lease = ''`},
		{&s.ownedBy, `SELECT h.no, t.name, h.session FROM head h JOIN tenant t ON t.no = h.tenant WHERE h.lease <> '' AND h.lease = ?`},
		{&s.woken, `SELECT no FROM head WHERE lease = '' AND wake_at > 0 AND wake_at > ? AND wake_at <= ? ORDER BY wake_at`},
		{&s.nextWake, `SELECT min(wake_at) FROM head WHERE lease = '' AND wake_at > 0 AND wake_at > ?`},
		{&s.withMail, `SELECT DISTINCT session FROM inbox`},

		{&s.placeMax, `SELECT max(place) FROM frame WHERE place BETWEEN ? AND ?`},
		{&s.frameAdd, `INSERT INTO frame (place, tenant, session, first, count, data) VALUES (?, ?, ?, ?, ?, ?)`},

		{&s.inputAdd, `INSERT INTO input (tenant, session, id, digest) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`},
		{&s.inputGet, `SELECT digest FROM input WHERE tenant = ? AND session = ? AND id = ?`},
		{&s.mailAdd, `INSERT INTO inbox (tenant, session, id, pos, at, digest, data) VALUES (?, ?, ?, ?, ?, ?, ?)`},
		{&s.mailTake, `DELETE FROM inbox WHERE tenant = ? AND session = ? AND id = ?`},
		{&s.mailAny, `SELECT 1 FROM inbox WHERE tenant = ? AND session = ? LIMIT 1`},
		{&s.mailMax, `SELECT max(pos) FROM inbox`},

		{&s.askAdd, `INSERT INTO ask (tenant, session, id, status, data, by_kind, by_id, decided) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`},
		{&s.askClose, `UPDATE ask SET status = ?, by_kind = ?, by_id = ?, decided = ?
			WHERE tenant = ? AND id = ? AND session = ? AND status = 'open'`},
		{&s.askGet, `SELECT status FROM ask WHERE tenant = ? AND id = ? AND session = ?`},

		{&s.drawAdd, `INSERT INTO draw (tenant, id, digest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`},
		{&s.drawGet, `SELECT digest FROM draw WHERE tenant = ? AND id = ?`},
		{&s.budgetGet, `SELECT drawn FROM budget WHERE tenant = ? AND id = ?`},
		{&s.budgetSet, `INSERT INTO budget (tenant, id, drawn) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET drawn = excluded.drawn`},

		{&s.versionAdd, `INSERT INTO agent_version (tenant, digest, name, created, data) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`},
		{&s.versionSet, `INSERT INTO agent (tenant, name, digest) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET digest = excluded.digest`},

		{&s.snapshotSet, `INSERT INTO snapshot (tenant, session, fold, seq, data) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET seq = excluded.seq, data = excluded.data WHERE excluded.seq > seq`},
	} {
		if *p.stmt, err = c.prepare(p.text); err != nil {
			return err
		}
	}
	return nil
}

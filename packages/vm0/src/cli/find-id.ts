import { Vm0Error } from '@vm0/contract/client'
import type { Vm0 } from '../client.js'
import { setting } from './setting.js'

/** A full id, its last eight characters, VM0_SESSION, or (without any) the session that was used last. */
export async function findSession(client: Vm0, given: string | undefined): Promise<string> {
  const wanted = setting(given, 'VM0_SESSION')
  if (wanted) return byEnd(wanted, 'sessions', client)
  const [runs, sessions] = await Promise.all([client.runs.list({ limit: 1 }), client.sessions.list({ limit: 1 })])
  const run = runs.items[0]
  const session = sessions.items[0]
  const isLater = run && (!session || run.createdAt >= session.createdAt)
  if (isLater && (await isThere(client, run.sessionId))) return run.sessionId
  if (session) return session.id
  throw new Vm0Error('NOT_FOUND', 'there are no sessions yet', { hint: 'Begin one with `vm0 run "…"`.' })
}

/** A full id, its last eight characters, or (without one) the latest run. */
export async function findRun(client: Vm0, given: string | undefined): Promise<string> {
  if (given) return byEnd(given, 'runs', client)
  const { items } = await client.runs.list({ limit: 1 })
  if (items[0]) return items[0].id
  throw new Vm0Error('NOT_FOUND', 'there are no runs yet', { hint: 'Begin one with `vm0 run "…"`.' })
}

async function byEnd(given: string, kind: 'runs' | 'sessions', client: Vm0): Promise<string> {
  if (/^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(given)) return given
  const { items } = await client[kind].list({ limit: 200 })
  const found = items.filter(({ id }) => id.endsWith(given))
  if (found.length === 1) return found[0]!.id
  throw new Vm0Error('NOT_FOUND', `${found.length} of the latest 200 ${kind} end in ${given}; expected one`)
}

async function isThere(client: Vm0, session: string): Promise<boolean> {
  try {
    await client.sessions.get(session).get()
    return true
  } catch (thrown) {
    if ((thrown as Vm0Error).code === 'SESSION_DELETED') return false
    throw thrown
  }
}

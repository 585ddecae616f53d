import { Vm0Error } from '@vm0/contract/client'
import type { Vm0 } from '../client.js'

/** A full id, its last eight characters, or (without one) the latest. */
export async function findId(client: Vm0, kind: 'runs' | 'sessions', given: string | undefined): Promise<string> {
  if (given && /^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(given)) return given
  const { items } = await client[kind].list({ limit: given ? 200 : 1 })
  const found = given ? items.filter(({ id }) => id.endsWith(given)) : items
  if (found.length === 1) return found[0]!.id
  throw new Vm0Error(
    'NOT_FOUND',
    given ? `${found.length} of the latest 200 ${kind} end in ${given}; expected one` : `there are no ${kind} yet`,
  )
}

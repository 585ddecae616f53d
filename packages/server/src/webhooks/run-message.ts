import { Vm0Error, type RunView, type WebhookEvent, type WebhookMessage } from '@vm0/contract'
import { redactor, RunRecord, secretValues, whyOf } from '@vm0/insight'
import type { Principal } from '../principal.js'
import type { Runs } from '../runs.js'

/** How long to wait for the log to say the end too: the row says it a moment earlier. */
const logMs = 2_000

/**
 * What is told of a run that has ended: how and why, without its prompt and its result. Secrets are taken out: the message
 * leaves the platform.
 */
export async function runMessage(
  runs: Runs,
  type: WebhookEvent,
  projectId: string,
  runId: string,
): Promise<WebhookMessage> {
  const by = readerOf(projectId)
  const { text: _, output: __, ...run } = await runs.get(by, runId)
  const redact = redactor(secretValues(await runs.spec(projectId, runId)))
  const why = run.state === 'succeeded' ? null : await whyOfRun(runs, by, { ...run, text: null, output: null })
  const told = { error: run.error, why }
  const { error, why: cause } = redactStrings(told, redact) as typeof told
  return {
    type,
    timestamp: run.endedAt ?? run.createdAt,
    data: { project: projectId, run: { ...run, error }, why: cause },
  }
}

/** The platform itself, as a reader of one project. */
function readerOf(projectId: string): Principal {
  return { keyId: '', accountId: '', projectId, scopes: new Set(['read']), expiresAtMs: null, token: null }
}

async function whyOfRun(runs: Runs, by: Principal, run: RunView) {
  const record = new RunRecord()
  try {
    const { resources } = await runs.circumstances(by, run.id)
    const signal = AbortSignal.timeout(logMs)
    for await (const event of await runs.events(by, run.id, { follow: true, signal })) record.add(event)
    const { cause, certainty, culprit, next, story } = whyOf(record, run, { resources })
    return { cause, certainty, culprit, next, story: story.line }
  } catch (error) {
    if (error instanceof Vm0Error && error.code === 'SESSION_DELETED') return null
    throw error
  }
}

/** Each text in a value, whatever it is in; names of members are the platform's own. */
export function redactStrings(value: unknown, redact: (text: string) => string): unknown {
  if (typeof value === 'string') return redact(value)
  if (Array.isArray(value)) return value.map((each) => redactStrings(each, redact))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, redactStrings(each, redact)]))
}

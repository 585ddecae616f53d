import { availableParallelism, totalmem } from 'node:os'
import type { RetentionPolicy } from '@vm0/checkpoints'
import { defaultGraceMs, Vm0Error } from '@vm0/contract'
import { defaultLimits, type Limits, type WebhookTargets } from '@vm0/server'

const names: Record<keyof Limits, string> = {
  requestsPerSecond: 'VM0_REQUESTS_PER_SECOND',
  requestBurst: 'VM0_REQUEST_BURST',
  eventStreams: 'VM0_EVENT_STREAMS',
  queuedRuns: 'VM0_QUEUED_RUNS',
}

/** The server's limits, each from its variable where that is set. */
export function limitsFrom(env: NodeJS.ProcessEnv): Limits {
  const limits = { ...defaultLimits }
  for (const [limit, name] of Object.entries(names) as [keyof Limits, string][]) {
    const text = env[name]
    if (!text) continue
    limits[limit] = wholeNumber(name, text)
  }
  return limits
}

/** Where webhooks may lead: the public internet alone, unless the operator says otherwise. */
export function webhookTargetsFrom({ VM0_WEBHOOK_TARGETS: text }: NodeJS.ProcessEnv): WebhookTargets {
  if (!text || text === 'public') return 'public'
  if (text === 'any') return 'any'
  throw new Vm0Error('INVALID_REQUEST', `VM0_WEBHOOK_TARGETS is ${JSON.stringify(text)}; expected public or any`, {
    hint: 'Correct or unset VM0_WEBHOOK_TARGETS in the environment of `vm0 up`.',
  })
}

/** A number of seconds from the environment. */
export function secondsFrom(name: string, otherwise: number, least = 0.001): number {
  const text = process.env[name] || String(otherwise)
  const seconds = Number(text)
  if (!(seconds >= least && seconds <= 86_400))
    throw new Vm0Error(
      'INVALID_REQUEST',
      `${name} is ${JSON.stringify(text)}; expected a number of seconds from ${least} to 86400, which is a day`,
      { hint: `Correct or unset ${name} in the environment of \`vm0 up\`.` },
    )
  return seconds
}

/** How many sandboxes this host has at most, warm ones included. */
export function maxSandboxesFrom(env: NodeJS.ProcessEnv): number {
  const { VM0_MAX_SANDBOXES: text } = env
  if (text) return Math.max(2, wholeNumber('VM0_MAX_SANDBOXES', text))
  return Math.max(2, Math.min(availableParallelism() * 8, Math.floor(totalmem() / 1024 ** 3 / 1.5)))
}

const keepNames = { last: 'VM0_KEEP_LAST', daily: 'VM0_KEEP_DAILY', monthly: 'VM0_KEEP_MONTHLY' } as const

/** Which checkpoints stay, where any of the variables is set; without them all do. */
export function retentionFrom(env: NodeJS.ProcessEnv): RetentionPolicy | undefined {
  const set = Object.entries(keepNames).filter(([, name]) => env[name])
  if (set.length === 0) return undefined
  const policy = { last: 1, daily: 0, monthly: 0, minAgeMs: defaultGraceMs }
  for (const [key, name] of set) policy[key as keyof typeof keepNames] = wholeNumber(name, env[name] as string)
  return policy
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1)
    throw new Vm0Error('INVALID_REQUEST', `${name} is ${JSON.stringify(text)}; expected a whole number from 1 on`, {
      hint: `Correct or unset ${name} in the environment of \`vm0 up\`.`,
    })
  return value
}

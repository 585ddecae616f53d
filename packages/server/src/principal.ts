import { Vm0Error, type Scope } from '@vm0/contract'

/** Who asks: what a valid key or token stands for. */
export interface Principal {
  /** Of the key or token itself. */
  keyId: string
  /** The key that limits are counted for: a token's maker, so that more tokens give no more room. */
  accountId: string
  projectId: string
  scopes: ReadonlySet<Scope>
  expiresAtMs: number | null
  /** Of a token: the one session or run that it may see; null in both for the whole project. */
  token: { sessionId: string | null; runId: string | null } | null
}

const granting: Record<Scope, readonly Scope[]> = {
  read: ['read', 'write'],
  write: ['write'],
  admin: ['admin', 'installation'],
  installation: ['installation'],
}

export function allows(scopes: ReadonlySet<Scope>, needed: Scope): boolean {
  return granting[needed].some((scope) => scopes.has(scope))
}

export function requireScope({ scopes }: Principal, needed: Scope): void {
  if (!allows(scopes, needed))
    throw new Vm0Error(
      'FORBIDDEN',
      `this needs a key with the scope "${needed}"; the key has ${[...scopes].join(', ')}`,
    )
}

/** What a call needs that names no scope of its own. */
export function scopeOf(method: string): Scope {
  return method === 'GET' || method === 'HEAD' ? 'read' : 'write'
}

/** A token sees its session or run only: what it doesn't see isn't there for it. */
export function requireSight({ token }: Principal, { sessionId, runId }: { sessionId: string; runId?: string }): void {
  if (!token) return
  const hidden = token.runId ? token.runId !== runId : token.sessionId !== null && token.sessionId !== sessionId
  if (hidden)
    throw new Vm0Error('NOT_FOUND', `${runId ? `run ${runId}` : `session ${sessionId}`} is not what this token is for`)
}

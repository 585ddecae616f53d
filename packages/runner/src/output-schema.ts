import { createContext, runInContext } from 'node:vm'
import { Vm0Error } from '@vm0/contract'
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import { Ajv2020 } from 'ajv/dist/2020.js'

/** Schemas and what is checked against them come from tenants: a pattern may take for ever on the right text. */
const timeoutMs = 500
const maxProblems = 5

/** The form that a run's output must have. */
export class OutputSchema {
  private constructor(private readonly matches: ValidateFunction) {}

  /** Throws INVALID_REQUEST where it is no JSON Schema (draft 7 or 2020-12) that can be used. */
  static of(schema: Record<string, unknown>): OutputSchema {
    const isDraft7 = String(schema.$schema ?? '').includes('draft-07')
    const ajv = new (isDraft7 ? Ajv : Ajv2020)({ strict: false, allErrors: false, validateFormats: false })
    try {
      return new OutputSchema(bounded(() => ajv.compile(schema)))
    } catch (cause) {
      throw new Vm0Error('INVALID_REQUEST', `output is no usable JSON Schema: ${(cause as Error).message}`, { cause })
    }
  }

  /** What is wrong with a value, or undefined. */
  problem(value: unknown): string | undefined {
    try {
      if (bounded(() => this.matches(value))) return undefined
    } catch (error) {
      return `it could not be checked: ${(error as Error).message}`
    }
    return (this.matches.errors ?? []).slice(0, maxProblems).map(told).join('; ')
  }
}

function told({ instancePath, message }: ErrorObject): string {
  return `${instancePath || 'the object'} ${message ?? 'is not as the schema says'}`
}

/** Ends what takes longer than the time that it may take. */
function bounded<T>(work: () => T): T {
  return runInContext('work()', createContext({ work }), { timeout: timeoutMs }) as T
}

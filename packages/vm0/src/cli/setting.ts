import { Vm0Error } from '@vm0/contract/client'

/** The value of an option: what the command line says, else what the variable that mirrors it says. */
export function setting(given: string | undefined, variable: string): string | undefined {
  return given ?? (process.env[variable] || undefined)
}

export function numberSetting(given: number | undefined, variable: string): number | undefined {
  const text = process.env[variable]
  if (given !== undefined || !text) return given
  const value = Number(text)
  if (!Number.isFinite(value))
    throw new Vm0Error('INVALID_REQUEST', `${variable} is ${JSON.stringify(text)}; expected a number`, {
      hint: `Correct or unset ${variable}.`,
    })
  return value
}

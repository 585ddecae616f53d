import { noUsage, type Usage } from '@vm0/contract'
import { amount, count, record, short } from './fields.js'

/** Tokens and dollars of one model, or of all. */
export interface Spent {
  usage: Usage
  costUsd: number
}
export type SpentByModel = ReadonlyMap<string, Spent>

export const nothingSpent: Spent = { usage: noUsage, costUsd: 0 }
const maxModels = 100
const tokens = Object.keys(noUsage) as (keyof Usage)[]

/** What the agent tells by model, in its `modelUsage` form. */
export function spentByModel(told: unknown): SpentByModel {
  return new Map(
    Object.entries(record(told))
      .slice(0, maxModels)
      .map(([model, value]) => {
        const used = record(value)
        const usage = {
          inputTokens: count(used.inputTokens),
          outputTokens: count(used.outputTokens),
          cacheReadTokens: count(used.cacheReadInputTokens),
          cacheWriteTokens: count(used.cacheCreationInputTokens),
        }
        return [short(model), { usage, costUsd: rounded(amount(used.costUSD)) }]
      }),
  )
}

export function plus(a: Spent, b: Spent): Spent {
  return combined(a, b, (x, y) => x + y)
}

/** By model, what `after` has more than `before`. Totals that went down have begun anew: all of them counts. */
export function since(before: SpentByModel, after: SpentByModel): SpentByModel {
  return new Map(
    [...after].map(([model, spent]) => {
      const earlier = before.get(model) ?? nothingSpent
      const begunAnew = tokens.some((kind) => spent.usage[kind] < earlier.usage[kind])
      return [model, begunAnew ? spent : without(spent, earlier)]
    }),
  )
}

/** What is left of `all` without `part`, nothing below zero. */
export function without(all: Spent, part: Spent): Spent {
  return combined(all, part, (x, y) => Math.max(0, x - y))
}

/** Whether `all` holds as much of everything as `part` does. */
export function covers(all: Usage, part: Usage): boolean {
  return tokens.every((kind) => all[kind] >= part[kind])
}

/**
 * The part of `all` that has these tokens. Its share of the cost is by the weights that the models' prices have in common;
 * what is left has the rest, so that nothing is lost.
 */
export function share(all: Spent, usage: Usage): Spent {
  const whole = weight(all.usage)
  return { usage, costUsd: whole === 0 ? 0 : rounded((all.costUsd * weight(usage)) / whole) }
}

function weight({ inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens }: Usage): number {
  return inputTokens + 5 * outputTokens + cacheReadTokens / 10 + 1.25 * cacheWriteTokens
}

export function isSomething({ usage, costUsd }: Spent): boolean {
  return costUsd > 0 || tokens.some((kind) => usage[kind] > 0)
}

function combined(a: Spent, b: Spent, operation: (x: number, y: number) => number): Spent {
  const usage = Object.fromEntries(tokens.map((kind) => [kind, count(operation(a.usage[kind], b.usage[kind]))]))
  return { usage: usage as Usage, costUsd: rounded(operation(a.costUsd, b.costUsd)) }
}

/** Sums and differences of binary fractions leave dust far below any price. */
function rounded(costUsd: number): number {
  return Math.round(costUsd * 1e9) / 1e9
}

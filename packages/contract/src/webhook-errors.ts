import type { ErrorEntry } from './error-entry.js'

/** The part of the table of errors that webhooks have to themselves. */
export const webhookErrors = {
  WEBHOOK_LIMIT: {
    status: 409,
    exit: 2,
    retryable: false,
    hint: 'Remove one that is not needed: `vm0 webhooks` lists them, `vm0 webhooks rm ID` removes one.',
  },
  WEBHOOK_TARGET_REFUSED: {
    status: 400,
    exit: 2,
    retryable: false,
    hint: 'Give an https:// address of the public internet, or have the operator set VM0_WEBHOOK_TARGETS=any in the environment of `vm0 up`.',
  },
  WEBHOOK_SIGNATURE_INVALID: {
    status: 400,
    exit: 2,
    retryable: false,
    hint: 'Answer it with 400: verify the body as it came, before it is parsed, with the secret of this webhook.',
  },
} as const satisfies Record<string, ErrorEntry>

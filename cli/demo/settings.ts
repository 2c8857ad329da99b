import { z } from 'zod';

/** What the bot needs to know; it arrives on its stdin, because argv is for everyone to read. */
export const botSettingsSchema = z.object({
  url: z.url(),
  key: z.string().min(1),
  account: z.string().min(1).default('main'),
  speed: z.number().positive(),
  seed: z.number().int().min(0),
  /** Null: the model's market. */
  candlesFile: z.string().nullable(),
  /** The name of the replayed candles. */
  symbol: z.string().min(1),
});

export type BotSettings = z.infer<typeof botSettingsSchema>;

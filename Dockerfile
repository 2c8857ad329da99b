# Node runs the TypeScript itself: there is no build step, and so one stage.
FROM node:26-slim

# As `npm start` does: with a fixed threshold glibc gives the buffers of large requests back to the
# system, where it would raise the threshold and keep them in fragments (50 to 70 MB of them).
ENV MALLOC_MMAP_THRESHOLD_=262144 \
    NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=4000 \
    TRADEWIND_HOME=/var/lib/tradewind

WORKDIR /app

# The optional packages are Node itself, which the image has, and the embedded PostgreSQL: a
# container is given a DATABASE_URL.
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --omit=optional && npm cache clean --force

COPY . .

# The code belongs to root; the server can write to its home alone.
RUN install -d -o node -g node -m 700 "$TRADEWIND_HOME"
USER node
VOLUME /var/lib/tradewind
EXPOSE 4000

# A shutdown refuses new work, waits for what runs and ends with 0.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/readyz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]

# As `npm start` does: requests of a megabyte leave a young generation that is mostly garbage.
ENTRYPOINT ["node", "--max-semi-space-size=4", "--max-old-space-size=1024", "bin/tradewind.js"]
CMD ["start"]

-- Run with: millstream sql -f examples/payments/queries.sql
SET 'auto.offset.reset' = 'earliest';

CREATE STREAM payments (payment_id STRING KEY, customer_id STRING, merchant STRING, amount DOUBLE)
  WITH (kafka_topic='payments', value_format='JSON', partitions=2);

CREATE TABLE customers (customer_id STRING PRIMARY KEY, name STRING, city STRING)
  WITH (kafka_topic='customers', value_format='JSON', partitions=2);

CREATE STREAM fraud_alert AS SELECT * FROM payments WHERE amount > 10000;

CREATE TABLE merchant_totals AS
  SELECT merchant, COUNT(*) AS payments, SUM(amount) AS total
  FROM payments WINDOW TUMBLING (SIZE 1 MINUTE)
  GROUP BY merchant;

CREATE STREAM payments_with_customer AS
  SELECT p.customer_id AS customer_id, p.payment_id AS payment_id, c.name AS name, c.city AS city, p.amount AS amount
  FROM payments p JOIN customers c ON p.customer_id = c.customer_id;
